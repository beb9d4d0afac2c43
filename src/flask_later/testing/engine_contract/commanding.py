"""What people and running jobs say: cancel, pause, progress; and jobs that this code cannot run."""

from __future__ import annotations

import asyncio

from flask_later.core.job import JobState, Progress
from flask_later.extension import Later
from flask_later.tasks.current import current_job

from .base import ContractBase, MakeSystem, System, stop_politely


class CommandingContract(ContractBase):
    def test_a_job_cancelled_while_it_waits_never_runs(self, system: System) -> None:
        """Its hints are still under way, and find nothing."""

        @system.later.task
        def note(name: str) -> None:
            system.seen.append(name)

        with system.context():
            system.later.pause("default")
            job = note.enqueue("cancelled")
            other = note.enqueue("other")
            assert job.cancel().state is JobState.CANCELLED
            system.later.resume("default")
            system.engine.deliver([system.hint(job)])
        system.finished(other)
        assert system.seen == ["other"]
        assert job.refresh().state is JobState.CANCELLED

    def test_a_job_cancelled_while_it_runs_is_told(self, system: System) -> None:
        """It ends at its next cancellation point."""

        @system.later.task
        def work() -> None:
            system.later.job(current_job.id).cancel()
            stop_politely()
            system.seen.append("went on")

        with system.context():
            job = system.finished(work.enqueue())
        assert job.state is JobState.CANCELLED
        assert system.seen == []

    def test_a_coroutine_that_is_cancelled_ends_at_its_await(self, system: System) -> None:
        """Without a word of its own."""

        @system.later.task
        async def work() -> None:
            system.later.job(current_job.id).cancel()
            await asyncio.Event().wait()

        with system.context():
            job = system.finished(work.enqueue())
        assert job.state is JobState.CANCELLED

    def test_a_failed_job_can_be_retried(self, system: System) -> None:
        """By hand, as if it had never run."""

        @system.later.task
        def work() -> str:
            system.seen.append("ran")
            if len(system.seen) == 1:
                raise ConnectionError("down")
            return "done"

        with system.context():
            job = system.finished(work.enqueue())
            again = system.finished(job.retry())
        assert (job.state, again.result, again.attempts) == (JobState.FAILED, "done", 1)

    def test_progress_and_log_lines_are_kept(self, system: System) -> None:
        """The last ones too, which were told just before the end."""

        @system.later.task
        def work() -> None:
            for number in current_job.track(range(3), message="rows"):
                current_job.log(f"row {number}")

        with system.context():
            job = system.finished(work.enqueue())
        assert job.progress == Progress(3, 3, "rows")
        assert [line.message for line in job.log()] == ["row 0", "row 1", "row 2"]

    def test_a_paused_queue_waits(self, system: System) -> None:
        """Others go on; once it is resumed, its jobs run."""

        @system.later.task
        def note(name: str) -> None:
            system.seen.append(name)

        with system.context():
            system.later.pause("slow")
            waiting = note.using(queue="slow").enqueue("slow")
            system.finished(note.enqueue("default"))
            assert waiting.refresh().state is JobState.QUEUED
            system.later.resume("slow")
        system.finished(waiting)
        assert system.seen == ["default", "slow"]

    def test_a_job_of_an_unknown_task_is_parked(
        self, system: System, make_system: MakeSystem
    ) -> None:
        """It runs as soon as there is code that knows its task."""
        job = system.store_job("shop.tasks.later")
        parked = system.reaches(job, JobState.PARKED)
        assert parked.error is not None
        assert parked.error.type == "UnknownTask"
        system.stop()

        later = Later()

        @later.task(name="shop.tasks.later")
        def now_known() -> str:
            return "known"

        newer = make_system(later, system.store)
        finished = newer.finished(newer.job(job.id))
        assert (finished.result, finished.attempts) == ("known", 1)

    def test_a_job_that_no_longer_fits_is_parked(
        self, system: System, make_system: MakeSystem
    ) -> None:
        """It was stored for another signature; it runs as soon as one fits again."""

        @system.later.task(name="shop.tasks.send")
        def needs_more(to: str) -> None:
            system.seen.append(to)

        job = system.store_job("shop.tasks.send")
        parked = system.reaches(job, JobState.PARKED)
        assert parked.error is not None
        assert (parked.error.type, parked.attempts) == ("ArgumentsError", 0)
        assert "to" in parked.error.message
        system.stop()

        later = Later()

        @later.task(name="shop.tasks.send")
        def fits(to: str = "all") -> str:
            return to

        newer = make_system(later, system.store)
        assert newer.finished(newer.job(job.id)).result == "all"
        assert (system.seen, needs_more.name) == ([], fits.name)
