"""Pages of other sites cannot cancel or delete with the cookies of whoever looks at them."""

from __future__ import annotations

import pytest

from .conftest import MakeSite
from .site import Site

OWN = "http://shop.example"
FOREIGN = "https://evil.example"

OURS = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Origin": OWN},
    {"Origin": "https://shop.example"},
]
OTHERS = [
    {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.shop.example"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": OWN},
    {"Origin": FOREIGN},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
    {"Origin": "http://shop.example.evil.example"},
    {"Origin": "http://shop.example:8080"},
]


@pytest.mark.parametrize("headers", OURS)
def test_what_our_own_pages_send_is_done(site: Site, headers: dict[str, str]) -> None:
    """And what no browser sends. Behind a proxy the scheme may be another one."""
    where = site.start()
    answer = site.client.post(f"{where}/cancel", headers=headers, base_url=OWN)
    assert answer.status_code == 200
    assert site.client.delete(where, headers=headers, base_url=OWN).status_code == 204


@pytest.mark.parametrize("headers", OTHERS)
def test_what_other_sites_send_is_refused(site: Site, headers: dict[str, str]) -> None:
    """Whether there is such an operation or not."""
    where = site.start()
    for path in (where, f"{where}x"):
        cancel = site.client.post(f"{path}/cancel", headers=headers, base_url=OWN)
        delete = site.client.delete(path, headers=headers, base_url=OWN)
        for answer in (cancel, delete):
            assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert site.document(where)["status"] == "queued"


def test_anybody_may_look(site: Site) -> None:
    """A link from a mail, say: it changes nothing."""
    answer = site.client.get(site.start(), headers=OTHERS[0], base_url=OWN)
    assert answer.status_code == 200


def test_a_site_that_is_trusted_may(make_site: MakeSite) -> None:
    """An app whose pages come from another origin names it."""
    site = make_site(TRUSTED_ORIGINS=["https://pages.example"])
    where = site.start()
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://pages.example"}
    answer = site.client.post(f"{where}/cancel", headers=headers, base_url=OWN)
    assert answer.status_code == 200
    headers["Origin"] = FOREIGN
    assert site.client.delete(where, headers=headers, base_url=OWN).status_code == 403
