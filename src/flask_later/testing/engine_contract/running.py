"""Running: every job once, in its order, whatever becomes of the hints."""

from __future__ import annotations

import pytest

from flask_later.core.engine import Ran
from flask_later.core.job import Hint, JobState
from flask_later.tasks.job import Job

from .base import ContractBase, MakeSystem, System


class RunningContract(ContractBase):
    def test_a_job_runs_and_its_result_is_stored(self, system: System) -> None:
        """Whoever holds the handle finds what the function returned."""

        @system.later.task
        def add(one: int, other: int) -> int:
            return one + other

        with system.context():
            job = add.enqueue(1, other=2)
        assert system.finished(job).result == 3

    def test_a_job_runs_once_although_its_hints_are_doubled(self, system: System) -> None:
        """A hint that comes again, or too late, finds nothing to do."""

        @system.later.task
        def note(number: int) -> None:
            system.seen.append(number)

        with system.context():
            jobs = [note.enqueue(number) for number in range(10)]
            hints = [system.hint(job) for job in jobs]
            system.engine.deliver([*reversed(hints), *hints, *hints])
            system.all_finished(jobs)
            system.engine.deliver(hints)
            system.finished(note.enqueue(10))
        assert sorted(system.seen) == list(range(11))

    def test_of_a_burst_each_job_runs_once(self, system: System) -> None:
        """Two hundred at once, and none is left."""

        @system.later.task
        def note(number: int) -> None:
            system.seen.append(number)

        with system.context():
            jobs = system.later.enqueue_many(note.call(number) for number in range(200))
        system.all_finished(jobs)
        assert sorted(system.seen) == list(range(200))

    def test_a_lost_hint_costs_time_and_no_job(self, system: System) -> None:
        """Who enqueued them died between the commit and the hints."""

        @system.later.task
        def note() -> str:
            return "ran"

        jobs = [system.store_job(note.name) for _ in range(5)]
        system.all_finished(jobs)
        assert [job.refresh().result for job in jobs] == ["ran"] * 5

    def test_one_thread_runs_jobs_by_priority(self, make_system: MakeSystem) -> None:
        """The higher first, and among equals the one that was stored first."""
        system = make_system(LATER_THREADS=1)

        @system.later.task
        def note(name: str) -> None:
            system.seen.append(name)

        with system.context():
            system.later.pause("default")
            jobs = [
                note.using(priority=priority).enqueue(name)
                for name, priority in (("c", 0), ("e", -5), ("d", 0), ("a", 9), ("b", 5))
            ]
            system.later.resume("default")
        system.all_finished(jobs)
        assert system.seen == ["a", "b", "c", "d", "e"]

    def test_a_job_can_enqueue_a_job(self, system: System) -> None:
        """On the thread that runs it, and that may run the other next."""

        @system.later.task
        def follow(number: int) -> int:
            return number + 1

        @system.later.task
        def lead() -> str:
            return follow.enqueue(6).id

        with system.context():
            job = lead.enqueue()
        second = system.job(system.finished(job).result)
        assert system.finished(second).result == 7

    def test_a_coroutine_function_is_a_task(self, system: System) -> None:
        """It runs to its end, on a loop of the worker's."""

        @system.later.task
        async def add(one: int, other: int) -> int:
            return one + other

        with system.context():
            jobs = [add.enqueue(number, 1) for number in range(3)]
        system.all_finished(jobs)
        assert [job.refresh().result for job in jobs] == [1, 2, 3]

    def test_what_a_task_raises_reaches_no_other_job(self, system: System) -> None:
        """Not even what is no ``Exception``; the job has the error as text."""

        @system.later.task
        def leave() -> None:
            raise SystemExit("bye")

        @system.later.task
        def stay() -> str:
            return "here"

        with system.context():
            leaving = [leave.enqueue() for _ in range(3)]
            staying = stay.enqueue()
        system.all_finished([*leaving, staying])
        assert staying.refresh().result == "here"
        for job in leaving:
            error = job.refresh().error
            assert error is not None
            assert (error.type, error.message) == ("SystemExit", "bye")

    def test_a_hint_of_another_store_is_refused(
        self, system: System, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Two stores share a broker: it runs nothing, and the log names both."""

        @system.later.task
        def note() -> None:
            system.seen.append("ran")

        with system.context():
            system.later.pause("default")
            job = note.enqueue()
            foreign = Hint("another-store", "default", job.id, 0)
            system.engine.deliver([foreign] * 9)
            assert system.run(foreign) is Ran.REFUSED
            system.finished(note.using(queue="open").enqueue())
        assert job.refresh().state is JobState.QUEUED
        assert "another-store" in caplog.text
        assert system.store.identity in caplog.text

    def test_two_apps_never_meet(self, make_system: MakeSystem) -> None:
        """Each runs its own jobs, from its own store, in its own context."""
        systems = [make_system(), make_system()]
        jobs: list[Job[str]] = []
        for system in systems:

            @system.later.task(name="shop.whose")
            def whose(app_name: str = system.app.name) -> str:
                return app_name

            with system.context():
                jobs += [whose.enqueue() for _ in range(5)]
        for system, mine in zip(systems, (jobs[:5], jobs[5:]), strict=True):
            system.all_finished(mine)
            assert {job.refresh().result for job in mine} == {system.app.name}
            stored = {record.id for record in system.store.find().records}
            assert stored == {job.id for job in mine}
