"""What a job finds around it, and what it tells those who listen."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from flask import current_app, g, has_request_context, url_for

from flask_later import signals
from flask_later.core.job import JobRecord
from flask_later.core.retry import Retry
from flask_later.tasks.current import current_job

from .base import ContractBase, System

SIGNALS = (
    signals.job_enqueued,
    signals.job_started,
    signals.job_retried,
    signals.job_failed,
    signals.job_succeeded,
)


class SurroundingsContract(ContractBase):
    def test_each_job_has_an_app_context_of_its_own(self, system: System) -> None:
        """It is torn down after the job, and nothing of it is left for the next."""

        @system.later.task
        def look() -> list[object]:
            found = g.get("left_behind")
            g.left_behind = current_job.id
            return [current_app.name, found, has_request_context()]

        @system.app.teardown_appcontext
        def note(error: BaseException | None) -> None:
            if "left_behind" in g:
                system.seen.append(g.left_behind)

        with system.context():
            jobs = [look.enqueue() for _ in range(5)]
        system.all_finished(jobs)
        for job in jobs:
            assert job.refresh().result == [system.app.name, None, False]
        assert sorted(system.seen) == sorted(job.id for job in jobs)

    def test_what_was_declared_crosses_over(self, system: System) -> None:
        """The URL of the request, its id, and what ``carry`` names: no more of the request."""

        @system.later.task
        def look() -> list[object]:
            url = url_for("order", number=7, _external=True)
            return [url, current_job.snapshot.request_id, g.get("tenant")]

        @system.app.post("/orders/<int:number>")
        def order(number: int) -> str:
            g.tenant = f"tenant-{number}"
            return look.enqueue().id

        system.later.carry(
            "tenant",
            capture=lambda: g.get("tenant"),
            restore=lambda tenant: setattr(g, "tenant", tenant),
        )
        response = system.app.test_client().post(
            "/orders/3", base_url="https://shop.example/de", headers={"X-Request-ID": "r-1"}
        )
        job = system.finished(system.job(response.text))
        assert job.result == ["https://shop.example/de/orders/7", "r-1", "tenant-3"]

    def test_signals_say_what_happened(self, system: System) -> None:
        """What befalls a job in its order, by the app, with the job as it was stored."""
        told: list[tuple[str, str, int]] = []

        @system.later.task(retry=Retry(max_attempts=2, backoff=0))
        def fail_once(again: bool) -> None:
            if current_job.attempt == 1 or again:
                raise ConnectionError("down")

        def tell(name: str) -> Any:
            def receive(app: object, *, job: JobRecord, **extra: object) -> None:
                told.append((name, job.state.value, job.attempts))

            return receive

        with ExitStack() as stack:
            for signal in SIGNALS:
                stack.enter_context(signal.connected_to(tell(signal.name), system.app))
            with system.context():
                system.finished(fail_once.enqueue(again=False))
            system.until(lambda: len(told) == 5)
            with system.context():
                system.finished(fail_once.enqueue(again=True))
            system.until(lambda: len(told) == 10)
        # A worker may be faster than the thread that enqueues.
        enqueued = ("job-enqueued", "queued", 0)
        assert told.count(enqueued) == 2
        first = [
            ("job-started", "running", 1),
            ("job-retried", "queued", 1),
            ("job-started", "running", 2),
        ]
        assert [each for each in told if each != enqueued] == [
            *first,
            ("job-succeeded", "succeeded", 2),
            *first,
            ("job-failed", "failed", 2),
        ]
