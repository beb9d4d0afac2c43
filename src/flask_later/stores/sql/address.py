"""``LATER_STORE`` as an address of a database."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from flask_later.errors import InvalidSettingError
from flask_later.errors.words import about_address

#: What the kinds of addresses are to SQLAlchemy. A driver may be named; it is always the same.
_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}
_SHORTEST = ("postgresql://...", "mysql://...", "mariadb://...")
_EXPECTED = (
    "an address such as postgresql://user:password@host/database or "
    "mysql://user:password@host/database, in which @ : / of a password are written %40 %3A %2F"
)


def parse(address: str) -> URL:
    """Return what SQLAlchemy connects to.

    :raises InvalidSettingError: for what is no address; it is not shown, it may hold a password.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise InvalidSettingError("LATER_STORE", "no address", _EXPECTED) from None
    if "@" in (url.host or "") or "@" in (url.database or ""):
        # A password with one has begun before the host, as it is read.
        raise InvalidSettingError("LATER_STORE", "an address with two @", _EXPECTED)
    if url.drivername not in _DRIVERS:
        raise InvalidSettingError("LATER_STORE", about_address(address), " or ".join(_SHORTEST))
    if not url.database:
        raise InvalidSettingError("LATER_STORE", "an address without a database", _EXPECTED)
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.drivername.startswith("mysql"):
        # Without it the server would take our texts for another character set.
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url


def place_of(url: URL) -> str:
    """Return where that is, for people to read: without the password, and what else may be one."""
    kind = url.drivername.partition("+")[0]
    return url.set(drivername=kind, query={}).render_as_string(hide_password=True)
