"""Time: delays, other tries, and attempts that take too long."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from flask_later.core.job import JobState, StopReason
from flask_later.core.retry import Failure, Retry, TryAgain
from flask_later.tasks.current import current_job

from .base import ContractBase, System, stop_politely, wait_for_stop

#: A task of these tests lets so many seconds pass, which is more than its timeout.
TIMEOUT, TOO_LONG = 5.0, 6.0


class TimingContract(ContractBase):
    def test_a_delayed_job_runs_when_it_is_due(self, system: System) -> None:
        """Not before, and not after those that were due later."""

        @system.later.task
        def note(name: str) -> None:
            system.seen.append((name, system.clock.now()))

        with system.context():
            late = note.using(delay=90).enqueue("late")
            soon = note.using(delay=40).enqueue("soon")
            system.finished(note.enqueue("now"))
        system.finished(late, step=5)
        assert [name for name, _ in system.seen] == ["now", "soon", "late"]
        assert system.seen[1][1] >= soon.run_at
        assert system.seen[2][1] >= late.run_at

    def test_a_job_that_failed_is_tried_again(self, system: System) -> None:
        """After its backoff, which doubles; the budget counts failures."""

        @system.later.task(retry=Retry(max_attempts=3, backoff=10, jitter=False))
        def third_time_lucky() -> str:
            system.seen.append(system.clock.now())
            if current_job.attempt < 3:
                raise ConnectionError("not yet")
            return "done"

        with system.context():
            job = third_time_lucky.enqueue()
        finished = system.finished(job, step=5)
        assert (finished.result, finished.attempts, finished.record.failures) == ("done", 3, 2)
        first, second, third = system.seen
        assert second - first >= timedelta(seconds=10)
        assert third - second >= timedelta(seconds=20)

    def test_a_job_out_of_tries_has_failed(self, system: System) -> None:
        """Its last error is kept as text."""

        @system.later.task(retry=Retry(max_attempts=2, backoff=0))
        def fail() -> None:
            raise ConnectionError(f"attempt {current_job.attempt}")

        with system.context():
            job = system.finished(fail.enqueue())
        assert (job.state, job.attempts) == (JobState.FAILED, 2)
        assert job.error is not None
        assert (job.error.type, job.error.message) == ("ConnectionError", "attempt 2")
        assert "raise ConnectionError" in job.error.traceback

    def test_try_again_is_no_failure(self, system: System) -> None:
        """A task may ask for another run, however few tries it has."""

        @system.later.task
        def poll() -> str:
            system.seen.append(system.clock.now())
            if current_job.attempt < 3:
                raise TryAgain(delay=10)
            return "ready"

        with system.context():
            job = system.finished(poll.enqueue(), step=5)
        assert (job.result, job.attempts, job.record.failures) == ("ready", 3, 0)
        assert system.seen[1] - system.seen[0] >= timedelta(seconds=10)

    def test_a_failure_is_final(self, system: System) -> None:
        """Whatever tries are left; its text is for everybody."""

        @system.later.task(retry=Retry(max_attempts=5, backoff=0))
        def refuse() -> None:
            raise Failure("No data for that year.")

        with system.context():
            job = system.finished(refuse.enqueue())
        assert (job.state, job.attempts) == (JobState.FAILED, 1)
        assert job.error is not None
        assert (job.error.message, job.error.public) == ("No data for that year.", True)

    def test_an_attempt_that_takes_too_long_is_told(self, system: System) -> None:
        """It ends at its next cancellation point, and has failed."""

        @system.later.task(timeout=TIMEOUT)
        def linger() -> None:
            system.clock.advance(TOO_LONG)
            try:
                stop_politely()
            finally:
                system.seen.append(current_job.stop_reason)

        with system.context():
            job = system.finished(linger.enqueue())
        assert (job.state, job.attempts) == (JobState.FAILED, 1)
        assert job.error is not None
        assert job.error.type == "TimeoutError"
        system.until(lambda: system.seen == [StopReason.TIMEOUT])

    def test_a_late_result_is_dropped(self, system: System) -> None:
        """What takes too long is fenced off: the next attempt alone may finish the job."""

        @system.later.task(timeout=TIMEOUT, retry=Retry(max_attempts=2, backoff=0))
        def linger() -> str:
            if current_job.attempt == 2:
                return "in time"
            system.clock.advance(TOO_LONG)
            wait_for_stop()
            system.seen.append("late")
            return "late"

        with system.context():
            job = system.finished(linger.enqueue())
            system.until(lambda: system.seen == ["late"])
        assert (job.refresh().result, job.refresh().attempts) == ("in time", 2)

    def test_a_coroutine_that_takes_too_long_is_cancelled(self, system: System) -> None:
        """At its next await, without a word of its own."""

        @system.later.task(timeout=TIMEOUT)
        async def linger() -> None:
            system.clock.advance(TOO_LONG)
            await asyncio.Event().wait()

        with system.context():
            job = system.finished(linger.enqueue())
        assert job.error is not None
        assert job.error.type == "TimeoutError"
