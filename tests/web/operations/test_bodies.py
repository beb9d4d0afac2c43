"""Bodies: what is refused before anything is stored, and how the others cross over."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from flask import request

from flask_later.core.job import Discard
from flask_later.core.store import Store

from .conftest import MakeSite
from .site import Site

LARGE = 300_000


@pytest.fixture(params=["memory", "sqlite"])
def site(request: pytest.FixtureRequest, make_site: MakeSite, tmp_path: Path) -> Any:
    """On both stores: files are kept by each in its own way."""
    if request.param == "memory":
        yield make_site()
    else:
        site = make_site(STORE=f"sqlite:///{tmp_path}/later.sqlite3")
        yield site
        store_of(site).close()


def store_of(site: Site) -> Store:
    store: Store = site.app.extensions["later"].store
    return store


def id_of(where: str) -> str:
    return where.rpartition("/")[2]


def add_echo(site: Site) -> None:
    @site.view("/echo")
    def echo() -> dict[str, object]:
        return {
            "size": len(request.get_data()),
            "form": request.form.to_dict(flat=False),
            "files": {name: len(file.read()) for name, file in request.files.items()},
        }


def test_a_large_body_crosses_over_in_a_file(site: Site) -> None:
    """Which is there before the 202, and goes with its job."""
    add_echo(site)
    where = site.start("/echo", data=b"x" * LARGE, content_type="application/x-test")
    job_id = id_of(where)
    with store_of(site).files.open(job_id, "request") as file:
        assert len(file.read()) == LARGE
    site.run()
    assert site.document(where)["result"]["size"] == LARGE
    store_of(site).command(job_id, Discard())
    with pytest.raises(OSError, match="request"):
        store_of(site).files.open(job_id, "request")


def test_an_upload_crosses_over(site: Site) -> None:
    """However large."""

    @site.view("/upload")
    def upload() -> dict[str, object]:
        file = request.files["file"]
        return {"name": file.filename, "size": len(file.read()), "tag": request.form["tag"]}

    data = {"file": (io.BytesIO(b"x" * LARGE), "a.bin"), "tag": "b"}
    answer = site.result("/upload", data=data)
    assert answer.get_json() == {"name": "a.bin", "size": LARGE, "tag": "b"}


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_body_without_a_length_crosses_over(site: Site, size: int) -> None:
    """As servers hand on what came in chunks."""
    add_echo(site)
    answer = site.result(
        "/echo",
        input_stream=io.BytesIO(b"x" * size),
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.get_json()["size"] == size


@pytest.mark.parametrize("files", [{}, {"file": 7}], ids=["urlencoded", "multipart"])
def test_a_form_that_was_read_before_crosses_over(site: Site, files: dict[str, int]) -> None:
    """A check of a token, say, has read it in the request."""

    @site.app.before_request
    def check() -> None:
        if request.method == "POST":
            assert request.form["a"]

    add_echo(site)
    form = {"a": ["1", "ü"], "b": ["x"]}
    sent = {name: (io.BytesIO(b"x" * size), "a.txt") for name, size in files.items()}
    answer = site.result("/echo", data={**form, **sent})
    assert (answer.get_json()["form"], answer.get_json()["files"]) == (form, files)


def test_a_body_that_was_read_before_crosses_over(site: Site) -> None:
    """A check of a signature, say, has read it in the request."""

    @site.app.before_request
    def check() -> None:
        request.get_data()

    add_echo(site)
    answer = site.result("/echo", data=b"x" * LARGE, content_type="application/x-test")
    assert answer.get_json()["size"] == LARGE


# Refused


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a": NaN}',
        b"1" * 5_000,
        b"\xff\xfe{}",
    ],
    ids=["cut", "endless", "nested lists", "nested objects", "nan", "big", "no text"],
)
def test_what_is_no_good_json_is_refused(site: Site, data: bytes) -> None:
    """400, and nothing is kept."""
    answer = site.post(data=data, content_type="application/json")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert site.run() == 0


def test_json_may_be_nested_to_the_limit(site: Site) -> None:
    """One level more is too deep."""
    assert site.post(data=b"[" * 64 + b"]" * 64, content_type="application/json").status_code == 202
    flat = b"[" + b",".join([b"[1]"] * 100) + b"]"
    assert site.post(data=flat, content_type="application/json").status_code == 202


@pytest.mark.parametrize("limited_by", ["LATER_MAX_REQUEST", "MAX_CONTENT_LENGTH"])
@pytest.mark.parametrize(
    ("size", "chunked"), [(100_000, False), (100_001, False), (99_999, True), (100_001, True)]
)
def test_a_body_may_be_as_large_as_the_limit(
    make_site: MakeSite, limited_by: str, size: int, chunked: bool
) -> None:
    """One byte more is answered 413, and leaves no file.

    Of a body without a length Flask takes one byte less.
    """
    site = make_site()
    site.app.config[limited_by] = 100_000
    add_echo(site)
    more = {"environ_overrides": {"wsgi.input_terminated": True}} if chunked else {}
    stream = io.BytesIO(b"x" * size)
    if chunked:
        answer = site.post("/echo", input_stream=stream, **more)
    else:
        answer = site.post("/echo", data=stream.read(), content_type="application/x-test")
    assert answer.status_code == (202 if size <= 100_000 else 413)
    assert site.files() == ["request"] * (size <= 100_000)
    assert site.run() == (size <= 100_000)


def test_another_type_of_body_is_refused(make_site: MakeSite) -> None:
    """415, where the view says what it takes."""
    site = make_site()

    @site.view("/json", accepts=["application/json"])
    def view() -> dict[str, object]:
        return {"json": request.get_json(silent=True)}

    answer = site.post("/json", data="a=1", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.content_type) == (415, "application/problem+json")
    assert answer.headers["Accept"] == "application/json"
    assert site.post("/json", json={}).status_code == 202


def test_a_body_of_no_type_is_refused_as_well(make_site: MakeSite) -> None:
    """Of a known length or not; only no body at all needs none."""
    site = make_site()
    site.view("/json", accepts=["application/json"])(lambda: "ok")
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    assert site.post("/json", data=b"{}").status_code == 415
    assert site.post("/json", environ_overrides=chunked).status_code == 415
    assert site.post("/json").status_code == 202


@pytest.mark.parametrize("key", [None, '"k"'])
def test_a_full_queue_is_told(make_site: MakeSite, key: str | None) -> None:
    """503 and when to try again; nothing is kept of the request."""
    site = make_site(MAX_PENDING=1)
    site.start()
    headers = {"Idempotency-Key": key} if key else {}
    answer = site.post(data=b"x" * LARGE, headers=headers)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    assert site.files() == []
    assert site.run() == 1


@pytest.mark.parametrize("key", [None, '"k"'])
def test_who_has_too_much_waiting_is_told(make_site: MakeSite, key: str | None) -> None:
    """429 and when to try again; nothing is kept of the request. Others are served."""
    site = make_site(MAX_PENDING_PER_PRINCIPAL=1)
    site.start(user="ada")
    headers = {"X-User": "ada", **({"Idempotency-Key": key} if key else {})}
    answer = site.post(data=b"x" * LARGE, headers=headers)
    assert (answer.status_code, answer.content_type) == (429, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    assert site.files() == []
    for user in ("bob", None, None):
        site.start(user=user)
    assert site.run() == 4
    site.start(user="ada", headers=headers)


def test_the_same_again_is_answered_where_nothing_more_may_wait(make_site: MakeSite) -> None:
    """It is there already."""
    site = make_site(MAX_PENDING_PER_PRINCIPAL=1)
    again = {"Idempotency-Key": '"k"'}
    assert site.start(user="ada", headers=again) == site.start(user="ada", headers=again)


def test_more_headers_cross_over_if_the_app_says_so(make_site: MakeSite) -> None:
    """By their names."""
    site = make_site(REQUEST_HEADERS=["X-Tenant"])

    @site.view("/tenant")
    def tenant() -> list[str | None]:
        return [request.headers.get("X-Tenant"), request.headers.get("X-Other")]

    answer = site.result("/tenant", headers={"X-Tenant": "a", "X-Other": "b"})
    assert answer.get_json() == ["a", None]
