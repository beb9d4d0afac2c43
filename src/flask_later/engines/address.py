"""``LATER_BROKER`` as the address of a broker."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask_later.errors import InvalidSettingError
from flask_later.errors.words import about_address, closest, with_article

_KEY = "LATER_BROKER"
_EXPECTED = (
    "an address such as {}://user:password@host/0, in which @ : / of a password are written "
    "%40 %3A %2F"
)


def require_address(broker: object, kinds: Sequence[str], own: str) -> str:
    """Return *broker*, if it is a URL of one of *kinds*; the first is named in errors.

    :param own: what the app may hand over in place of a URL.
    :raises InvalidSettingError: otherwise; it does not show the URL, which may hold a password.
    """
    if not isinstance(broker, str):
        expected = f"the URL of a broker, or the app's own {own}"
        raise InvalidSettingError(_KEY, with_article(type(broker).__name__), expected)
    kind, mark, _ = broker.partition("://")
    if mark and kind not in kinds:
        known = " or ".join(f"{each}://..." for each in kinds[:2])
        near = closest(kind, kinds).removesuffix(".")
        raise InvalidSettingError(_KEY, about_address(broker), f"{known}{near and '.' + near}")
    if not mark or not all(map(_is_whole, broker.split(";"))):
        raise InvalidSettingError(_KEY, "no address", _EXPECTED.format(kinds[0]))
    return broker


def _is_whole(url: str) -> bool:
    """Whether its parts are where they seem to be: a / in a password would end the host."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return "@" not in parts.path
