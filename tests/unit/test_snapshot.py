"""What crosses over from a request to the jobs it enqueues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import g, request, url_for
from tests.shop import PATIENCE, Shop

from flask_later import Job, JobState, Retry, current_job
from flask_later.errors import NameTakenError, NotSerializableError
from flask_later.tasks import snapshot
from flask_later.tasks.snapshot import NO_REQUEST, Snapshot


def run_in_request(shop: Shop, task: Any, path: str = "/", **request: Any) -> Job[Any]:
    """Return the job that a view enqueued, once it is finished."""
    with shop.app.test_request_context(path, **request):
        job: Job[Any] = task.enqueue()
    return job.wait(timeout=PATIENCE)


def linking(shop: Shop) -> Any:
    """Return a task that builds links."""
    shop.app.add_url_rule("/items/<int:number>", "item")
    task: Any = shop.later.task(name="link")(lambda: url_for("item", number=7, _external=True))
    return task


# Links


@pytest.mark.parametrize(
    ("base_url", "link"),
    [
        ("http://shop.example/", "http://shop.example/items/7"),
        ("https://shop.example:8443/", "https://shop.example:8443/items/7"),
        ("http://shop.example/app/", "http://shop.example/app/items/7"),
        ("http://[::1]:5000/", "http://[::1]:5000/items/7"),
    ],
)
def test_links_of_a_job_are_those_of_its_request(shop: Shop, base_url: str, link: str) -> None:
    """Scheme, host, port and script root."""
    assert run_in_request(shop, linking(shop), base_url=base_url).result == link


@pytest.mark.parametrize("base_url", ["https://shop.example/app/", "https://shop.example/app"])
def test_links_of_other_jobs_are_those_of_the_setting(base_url: str) -> None:
    """``LATER_BASE_URL`` stands in where no request enqueued the job."""
    with Shop(BASE_URL=base_url) as shop:
        task = linking(shop)
        assert shop.run(task).result == "https://shop.example/app/items/7"
        request_wins = run_in_request(shop, task, base_url="http://other.example/")
        assert request_wins.result == "http://other.example/items/7"


def test_links_without_any_base_are_flasks_affair(shop: Shop) -> None:
    """Neither a request nor a setting: Flask's error says what is missing."""
    error = shop.run(linking(shop)).error
    assert error is not None
    assert "SERVER_NAME" in error.message


def test_links_follow_the_subdomains_of_the_app(shop: Shop) -> None:
    """They are the ones that the view would have built."""
    shop.__dict__["app"] = app = shop.make_app(SERVER_NAME="shop.example")
    app.subdomain_matching = True
    app.url_map.default_subdomain = ""
    app.add_url_rule("/items", "items")
    app.add_url_rule("/items", "api_items", subdomain="api")
    shop.later.start(app)

    def link() -> list[str]:
        return [url_for("items", _external=True), url_for("api_items", _external=True)]

    task = shop.later.task(link)
    with app.test_request_context("/items", subdomain="api"):
        in_view, job = link(), task.enqueue()
    assert job.wait(timeout=PATIENCE).result == in_view


@pytest.mark.parametrize("host", ["10.0.0.1", "evil.example"])
def test_the_name_of_the_server_beats_what_a_client_says(shop: Shop, host: str) -> None:
    """With ``SERVER_NAME``, as in the view: nobody can have links to elsewhere mailed."""
    shop.__dict__["app"] = app = shop.make_app(SERVER_NAME="shop.example")
    shop.later.start(app)
    job = run_in_request(shop, linking(shop), headers={"Host": host})
    assert job.result == "http://shop.example/items/7"


# Facts


def test_a_job_knows_what_its_request_told(shop: Shop) -> None:
    """Request id, trace and language."""
    headers = {
        "X-Request-ID": "r-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "Accept-Language": "fr;q=0.8, de-AT, en;q=0.5",
    }

    @shop.later.task
    def look() -> list[object]:
        known = current_job.snapshot
        return [known.base_url, known.request_id, known.traceparent, known.locale]

    assert run_in_request(shop, look, headers=headers).result == [
        "http://localhost/",
        "r-1",
        headers["traceparent"],
        "de-AT",
    ]


def test_secrets_are_never_stored(shop: Shop) -> None:
    """No cookie, no Authorization, no form, no query."""
    job = run_in_request(
        shop,
        shop.later.task(name="nothing")(lambda: None),
        "/?token=secret",
        method="POST",
        data={"password": "secret"},
        headers={"Authorization": "Bearer secret", "Cookie": "session=secret"},
    )
    assert "secret" not in str(job.record)


def test_what_is_too_long_for_an_id_is_not_kept(shop: Shop) -> None:
    """Clients choose these headers."""
    task = shop.later.task(name="nothing")(lambda: None)
    headers = dict.fromkeys(("X-Request-ID", "traceparent", "Accept-Language"), "x" * 201)
    job = run_in_request(shop, task, headers=headers)
    assert len(job.record.context) < 500


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "a b"},
        {"Host": ""},
        {"Host": "["},
        {"Host": "a:b"},
        {"Host": "a@b/c"},
        {"X-Request-ID": "\x80"},
    ],
    ids=str,
)
def test_odd_headers_keep_nobody_from_enqueueing(shop: Shop, headers: dict[str, str]) -> None:
    """The job runs; at worst its links are odd as well."""
    assert run_in_request(shop, shop.later.task(name="one")(lambda: 1), headers=headers).result == 1


def test_outside_of_a_request_nothing_crosses_over(shop: Shop) -> None:
    """The record holds the empty snapshot."""
    job = shop.run(shop.later.task(name="nothing")(lambda: None))
    assert job.record.context == "{}"
    assert snapshot.load(job.record.context) is NO_REQUEST


def test_a_child_inherits_the_snapshot(shop: Shop) -> None:
    """And its child: the links of all are those of the request."""

    @shop.later.task
    def look(depth: int = 2) -> str:
        if depth:
            return look.enqueue(depth - 1).id
        return f"{current_job.snapshot.request_id} {current_job.snapshot.base_url}"

    job = run_in_request(
        shop, look, base_url="https://shop.example/", headers={"X-Request-ID": "r-1"}
    )
    with shop.app.app_context():
        for _ in range(2):
            job = look.job(job.result).wait(timeout=PATIENCE)
    assert job.result == "r-1 https://shop.example/"


def test_what_a_newer_version_wrote_is_passed_over() -> None:
    """During a deployment both read the same store."""
    known = snapshot.load('{"base_url":"http://a/","mood":"good"}')
    assert known == Snapshot(base_url="http://a/")


# carry


def carry_tenant(shop: Shop, **options: Any) -> None:
    def restore(tenant: object) -> None:
        g.tenant = tenant

    def capture() -> object:
        return g.get("tenant")

    shop.later.carry("tenant", **{"capture": capture, "restore": restore, **options})


def reading(shop: Shop, **options: Any) -> Any:
    return shop.later.task(name="tenant", **options)(lambda: g.get("tenant"))


def test_what_the_app_carries_crosses_over(shop: Shop) -> None:
    """Captured at the enqueue, restored in the job's context before the task."""
    carry_tenant(shop)
    task = reading(shop)
    with shop.app.test_request_context():
        g.tenant = ("acme", 7)
        job = task.enqueue()
    assert job.wait(timeout=PATIENCE).result == ("acme", 7)


def test_what_the_app_carries_needs_no_request(shop: Shop) -> None:
    """An app context will do, and the child of a job inherits it as well."""
    carry_tenant(shop)
    inner = reading(shop)

    @shop.later.task
    def outer() -> str:
        return inner.enqueue().id

    with shop.app.app_context():
        g.tenant = "acme"
        job = outer.enqueue()
        child = inner.job(str(job.wait(timeout=PATIENCE).result))
    assert child.wait(timeout=PATIENCE).result == "acme"


def test_none_means_nothing_to_carry(shop: Shop) -> None:
    """Then nothing is restored either."""
    restored: list[object] = []
    carry_tenant(shop, restore=restored.append)
    job = shop.run(reading(shop))
    assert (job.record.context, restored) == ("{}", [])


def fail(*_: object) -> None:
    raise LookupError("no tenant")


def test_what_capture_raises_the_enqueue_raises(shop: Shop) -> None:
    """Nothing was stored: the caller still has the work in hand."""
    carry_tenant(shop, capture=fail)
    with pytest.raises(LookupError, match="no tenant"):
        shop.enqueue(reading(shop))
    assert not shop.store.find().records


def test_what_cannot_be_stored_is_named(shop: Shop) -> None:
    """The carrier is named, and nothing was stored."""
    carry_tenant(shop, capture=object)
    with pytest.raises(NotSerializableError, match=r"Later\.carry captured.*'tenant'"):
        shop.enqueue(reading(shop))
    assert not shop.store.find().records


def test_what_restore_raises_fails_the_attempt(shop: Shop) -> None:
    """It is an error like any: the task's retry decides, and the task itself never ran."""
    carry_tenant(shop, capture=lambda: 1, restore=fail)
    job = shop.run(reading(shop, retry=Retry(max_attempts=2, backoff=0)))
    assert job.error is not None
    assert (job.state, job.attempts) == (JobState.FAILED, 2)
    assert (job.error.type, job.error.message) == ("LookupError", "no tenant")


def test_what_nobody_restores_any_more_is_passed_over(shop: Shop) -> None:
    """A carrier that is gone with a deployment does not fail the jobs before it."""
    carry_tenant(shop)
    task = reading(shop)
    carriers = shop.state.registry.carriers
    with shop.app.app_context():
        g.tenant = "acme"
        job = task.using(delay=0.1).enqueue()
    carriers.__init__()  # type: ignore[misc]
    assert job.wait(timeout=PATIENCE).result is None


def test_a_name_is_carried_once(shop: Shop) -> None:
    """Two that mean different things would overwrite each other."""
    carry_tenant(shop)
    with pytest.raises(NameTakenError) as refusal:
        shop.later.carry("tenant", capture=fail, restore=fail)
    assert "'tenant' is taken" in str(refusal.value)
    assert refusal.value.first.startswith(__file__)
    assert refusal.value.second.startswith(__file__)


def test_a_factory_that_runs_twice_carries_again(shop: Shop) -> None:
    """As its tasks, its carriers replace those from the same place."""
    restored: list[object] = []

    def create(tenant: str) -> None:
        shop.later.carry("tenant", capture=lambda: tenant, restore=restored.append)

    create("old")
    create("new")
    shop.run(reading(shop))
    assert restored == ["new"]


@dataclass
class Tenant:
    name: str


def test_values_make_the_round_trip_of_arguments(shop: Shop) -> None:
    """A dataclass comes back as one."""
    carry_tenant(shop, capture=lambda: Tenant("acme"))
    assert shop.run(reading(shop)).result == Tenant("acme")


def test_several_carriers_are_restored_in_their_order(shop: Shop) -> None:
    """The order in which they were added."""
    order: list[object] = []
    restore: Callable[[Any], None] = order.append
    for name in "cab":
        shop.later.carry(name, capture=lambda name=name: name, restore=restore)  # type: ignore[misc]
    shop.run(shop.later.task(name="nothing")(lambda: None))
    assert order == ["c", "a", "b"]


def test_capture_sees_the_request(shop: Shop) -> None:
    """What the app makes of it is the app's affair."""
    carry_tenant(shop, capture=lambda: request.headers["X-Tenant"])
    job = run_in_request(shop, reading(shop), headers={"X-Tenant": "acme"})
    assert job.result == "acme"
