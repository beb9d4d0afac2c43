"""Stopping: what runs is told, what is left is given back, and runs after the next start."""

from __future__ import annotations

import threading

from flask_later.core.engine import Ran
from flask_later.core.job import StopReason
from flask_later.extension import Later
from flask_later.tasks.current import current_job

from .base import PATIENCE, ContractBase, MakeSystem, stop_politely, wait_for_stop


class StoppingContract(ContractBase):
    def test_a_stopping_process_gives_the_running_job_back(self, make_system: MakeSystem) -> None:
        """It is told, its attempt does not count, and it runs again after the next start."""
        later = Later()
        began = threading.Event()
        seen: list[tuple[int, StopReason | None]] = []

        @later.task
        def work() -> str:
            if began.is_set():
                seen.append((current_job.attempt, None))
                return "done"
            began.set()
            try:
                stop_politely()
            finally:
                seen.append((current_job.attempt, current_job.stop_reason))
            return "never"

        system = make_system(later)
        with system.context():
            job = work.enqueue()
        system.stop_once(began)
        newer = make_system(later, system.store)
        finished = newer.finished(newer.job(job.id))
        assert seen == [(1, StopReason.SHUTDOWN), (1, None)]
        # Twice, if another thread was claiming it when the stop gave it back.
        assert finished.record.releases >= 1
        assert (finished.result, finished.attempts) == ("done", 1)

    def test_a_job_that_does_not_listen_is_given_back(self, make_system: MakeSystem) -> None:
        """The process does not wait longer than it may; what comes later is dropped."""
        later = Later()
        began, stopped, ended = threading.Event(), threading.Event(), threading.Event()

        @later.task
        def work() -> str:
            if ended.is_set():
                return "second"
            began.set()
            wait_for_stop()
            assert stopped.wait(PATIENCE)
            ended.set()
            return "first"

        system = make_system(later)
        with system.context():
            job = work.enqueue()
        system.stop_once(began, timeout=0.0, then=stopped.set)
        assert ended.wait(PATIENCE)
        newer = make_system(later, system.store)
        finished = newer.finished(newer.job(job.id))
        # Twice, if another thread was claiming it when the stop gave it back.
        assert finished.record.releases >= 1
        assert (finished.result, finished.attempts) == ("second", 1)

    def test_nothing_runs_after_a_stop(self, make_system: MakeSystem) -> None:
        """A hint that comes too late is refused; its job waits for the next start."""
        later = Later()
        seen: list[str] = []

        @later.task
        def note() -> None:
            seen.append("ran")

        system = make_system(later)
        with system.context():
            system.later.pause("default")
            job = note.enqueue()
        system.stop()
        assert system.run(system.hint(job)) is Ran.REFUSED
        newer = make_system(later, system.store)
        with newer.context():
            newer.later.resume("default")
        newer.finished(newer.job(job.id))
        assert seen == ["ran"]
