"""Who owns an operation."""

from __future__ import annotations

import pytest

from flask_later.errors import InvalidSettingError

from .site import Site


def test_a_long_id_is_not_cut_off(site: Site) -> None:
    """What two long ones begin with would be one principal, who sees both their operations."""
    site.later.principal(lambda: "a" * 256)
    with pytest.raises(InvalidSettingError, match="at most 255 printable characters"):
        site.post()
    assert site.run() == 0


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_an_id_that_no_store_keeps_is_refused(site: Site, name: str) -> None:
    """Before anything is stored."""
    site.later.principal(lambda: name)
    with pytest.raises(InvalidSettingError, match="The principal is"):
        site.post()


def test_the_longest_id_is_an_owner(site: Site) -> None:
    """As any other."""
    names = iter(["a" * 255, "a" * 255, "a" * 254 + "b"])
    site.later.principal(lambda: next(names))
    where = site.start()
    assert site.client.get(where).status_code == 200
    assert site.client.get(where).status_code == 404
