"""Workers: beats, notes, log lines, and what becomes of the jobs of one that is gone."""

from __future__ import annotations

from datetime import timedelta
from math import isinf

import pytest

from flask_later.core.exchange import Claim, Note, Released, Succeeded
from flask_later.core.job import Cancel, Hint, JobState, LogLine, Progress, StopReason
from flask_later.core.states import MAX_CRASHES
from flask_later.core.store import BEAT, Limits, Store, Swept, WorkerRecord
from flask_later.testing.records import START, make_record

from .base import ContractBase, PatientClock, attempt, claim, hire, now_of, put, settle, start


class WorkingContract(ContractBase):
    def test_workers_are_listed_oldest_first(
        self, store: Store, other: Store, clock: PatientClock
    ) -> None:
        """As they registered, for every process that shares the store."""
        young = WorkerRecord("a", "host", 1, clock.now(), ("mail", "default"), 4)
        old = WorkerRecord("b", "host", 2, clock.now() - timedelta(seconds=1), None, 8)
        store.register(young)
        store.register(old)
        assert list(other.workers()) == [old, young]

    def test_a_worker_that_registers_again_is_listed_once(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """As it is now."""
        again = WorkerRecord(worker, "host", 1, clock.now(), ("mail",), 2)
        store.register(again)
        assert list(store.workers()) == [again]

    def test_a_retired_worker_is_not_listed(self, store: Store, worker: str, rival: str) -> None:
        """The others are."""
        store.retire(worker)
        assert [each.id for each in store.workers()] == [rival]

    def test_a_dead_worker_is_not_listed(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """Until it comes back, as what it was."""
        (before,) = store.workers()
        self.die(store, other, clock)
        assert isinf(store.rescue_after) or list(other.workers()) == []
        store.note(worker, [], [])
        assert list(other.workers()) == [before]

    def test_a_retired_worker_gives_back_what_it_holds(
        self, store: Store, worker: str, rival: str
    ) -> None:
        """Its attempts do not count, and there is a hint to each."""
        running = start(store, worker)
        kept = start(store, rival)
        hints = store.retire(worker)
        assert list(hints) == [Hint(store.identity, running.queue, running.id, 2)]
        after = now_of(store, running)
        assert (after.state, after.attempts, after.releases) == (JobState.QUEUED, 0, 1)
        assert now_of(store, kept) == kept

    def test_a_retired_worker_has_lost_its_attempts(self, store: Store, worker: str) -> None:
        """A thread that still runs one can no longer settle it."""
        running = start(store, worker)
        store.retire(worker)
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).stale)

    def test_retiring_cancels_what_somebody_asked_to_cancel(
        self, store: Store, worker: str
    ) -> None:
        """It is not run again, so there is no hint to it."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        assert list(store.retire(worker)) == []
        assert now_of(store, running).state is JobState.CANCELLED

    def test_retiring_twice_and_retiring_nobody_is_no_error(
        self, store: Store, worker: str
    ) -> None:
        """A process that stops does not have to know what it has done."""
        store.retire(worker)
        assert list(store.retire(worker)) == []
        assert list(store.retire("nobody")) == []

    def test_a_worker_may_register_again(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It keeps what it holds."""
        running = start(store, worker)
        hire(store, clock, worker)
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).done)

    def test_a_beat_of_a_worker_that_holds_nothing_is_answered(
        self, store: Store, worker: str
    ) -> None:
        """Nothing has to stop."""
        assert dict(store.note(worker, [], [])) == {}

    def test_progress_is_kept(self, store: Store, clock: PatientClock, worker: str) -> None:
        """The last one counts, with the instant at which the store got it."""
        running = start(store, worker)
        holding = attempt(running)
        store.note(worker, [holding], [Note(holding, Progress(1, 3, "one"))])
        clock.advance(1)
        told_at = clock.now()
        store.note(worker, [holding], [Note(holding, Progress(2.5, None, "\0\ud800"))])
        clock.advance(1)
        # One that says nothing of it leaves it.
        store.note(worker, [holding], [Note(holding)])
        assert now_of(store, running) == running._replace(
            progress=Progress(2.5, None, "\0\ud800"), progress_at=told_at
        )

    def test_log_lines_are_kept_in_order(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """With the instant at which the store got them."""
        running = start(store, worker)
        holding = attempt(running)
        store.note(worker, [holding], [Note(holding, lines=["a", "nul\0"])])
        clock.advance(1)
        store.note(worker, [holding], [Note(holding, lines=["\ud800\U0001f40d", ""])])
        assert list(store.log(running.id)) == [
            LogLine(1, START, "a"),
            LogLine(2, START, "nul\0"),
            LogLine(3, clock.now(), "\ud800\U0001f40d"),
            LogLine(4, clock.now(), ""),
        ]

    def test_the_oldest_log_lines_go_first(self, store: Store, worker: str, limits: Limits) -> None:
        """A job keeps so many lines; their ids go on counting."""
        running = start(store, worker)
        holding = attempt(running)
        store.note(worker, [holding], [Note(holding, lines=["old"] * limits.max_log_lines)])
        store.note(worker, [holding], [Note(holding, lines=["new", "newer"])])
        lines = store.log(running.id)
        assert len(lines) == limits.max_log_lines
        assert [lines[0].id, lines[-1].id] == [3, limits.max_log_lines + 2]
        assert lines[-1].message == "newer"

    def test_one_note_cannot_break_the_cap(self, store: Store, worker: str, limits: Limits) -> None:
        """Of too many lines at once the last are kept."""
        running = start(store, worker)
        lines = [str(number) for number in range(limits.max_log_lines + 5)]
        store.note(worker, [attempt(running)], [Note(attempt(running), lines=lines)])
        kept = [line.message for line in store.log(running.id)]
        assert kept == lines[-limits.max_log_lines :]

    def test_notes_of_a_lost_attempt_are_dropped(
        self, store: Store, worker: str, rival: str
    ) -> None:
        """They would mix with those of the attempt that runs now."""
        lost = start(store, worker)
        settle(store, worker, Released(attempt(lost)))
        (running,) = claim(store, rival)
        note = Note(attempt(lost), Progress(1, 2), ["late"])
        assert dict(store.note(worker, [attempt(lost)], [note])) == {attempt(lost): StopReason.LOST}
        assert now_of(store, running) == running
        assert list(store.log(running.id)) == []

    def test_an_attempt_of_a_job_that_is_gone_is_lost(self, store: Store, worker: str) -> None:
        """And its notes are dropped."""
        gone = Claim("f" * 32, 1)
        answer = store.note(worker, [gone], [Note(gone, Progress(1), ["line"])])
        assert dict(answer) == {gone: StopReason.LOST}
        assert list(store.log(gone.job_id)) == []

    def test_a_beat_brings_the_request_to_cancel(self, store: Store, worker: str) -> None:
        """Again with each beat, until the attempt is settled."""
        put(store, make_record(), make_record())
        asked, other = claim(store, worker, 2)
        holding = [attempt(asked), attempt(other)]
        assert dict(store.note(worker, holding, [])) == {}
        store.command(asked.id, Cancel())
        for _ in range(2):
            assert dict(store.note(worker, holding, [])) == {holding[0]: StopReason.CANCELLED}

    def test_the_last_lines_of_a_settled_attempt_are_kept(self, store: Store, worker: str) -> None:
        """The fence has not moved: they may come after the outcome."""
        running = start(store, worker)
        settle(store, worker, Succeeded(attempt(running), "1"))
        store.note(worker, [], [Note(attempt(running), lines=["bye"])])
        assert [line.message for line in store.log(running.id)] == ["bye"]

    def test_what_two_beats_left_out_is_released(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The answer to its claim was lost: nobody runs it. It does not count as an attempt."""
        running = start(store, worker)
        for _ in range(2):
            assert now_of(store, running) == running
            clock.advance(BEAT)
            store.note(worker, [], [])
        after = now_of(store, running)
        assert (after.state, after.fence, after.attempts) == (JobState.QUEUED, 2, 0)

    def test_what_one_beat_left_out_is_not_released(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """The beat may have been on its way while the job was claimed, or is being settled."""
        running = start(store, worker)
        for holding in ([], [attempt(running)], [attempt(running)], [], [attempt(running)], []):
            clock.advance(BEAT)
            store.note(worker, holding, [])
        assert now_of(store, running) == running

    def test_a_beat_leaves_the_jobs_of_others(
        self, store: Store, clock: PatientClock, worker: str, rival: str
    ) -> None:
        """Each worker answers for its own."""
        running = start(store, rival)
        for _ in range(3):
            clock.advance(1)
            store.note(worker, [], [])
        assert now_of(store, running) == running

    def test_the_jobs_of_a_dead_worker_run_again(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """After ``rescue_after``, or never where that is infinite; a crash is counted."""
        running = start(store, worker)
        swept = self.die(store, other, clock)
        if isinf(store.rescue_after):
            assert (swept.rescued, now_of(store, running)) == (0, running)
            return
        assert swept.rescued == 1
        assert list(swept.hints) == [Hint(store.identity, running.queue, running.id, 2)]
        assert now_of(store, running) == running._replace(
            state=JobState.QUEUED, fence=2, crashes=1, worker=None
        )
        assert list(settle(store, worker, Succeeded(attempt(running), "1")).stale)

    def test_a_worker_that_beats_is_alive(
        self, store: Store, clock: PatientClock, worker: str, rival: str
    ) -> None:
        """However long its job takes, and whoever else has died."""
        running = start(store, worker)
        step = min(BEAT, store.rescue_after / 2)
        for _ in range(20):
            clock.advance(step)
            store.note(worker, [attempt(running)], [])
            assert store.sweep(100, {}).rescued == 0
        assert now_of(store, running) == running

    def test_a_rescue_is_done_once(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """Two sweeps find the dead worker; one of them rescues."""
        start(store, worker)
        self.die(store, other, clock)
        assert store.sweep(100, {}).rescued == 0

    def test_a_worker_taken_for_dead_may_come_back(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """It was only asleep: its attempts are lost, but it may work on."""
        lost = start(store, worker)
        self.die(store, other, clock)
        stops = store.note(worker, [attempt(lost)], [])
        assert isinf(store.rescue_after) or dict(stops) == {attempt(lost): StopReason.LOST}
        (again,) = claim(store, worker) or [lost]
        clock.advance(min(BEAT, store.rescue_after / 2))
        assert other.sweep(100, {}).rescued == 0
        assert list(settle(store, worker, Succeeded(attempt(again), "1")).done)

    def test_a_job_that_kills_its_workers_fails(
        self, store: Store, other: Store, clock: PatientClock
    ) -> None:
        """The third crash is its last; the error says so."""
        (record,) = put(store, make_record())
        if isinf(store.rescue_after):
            assert store.sweep(100, {}).rescued == 0
            return
        swept = Swept()
        for number in range(MAX_CRASHES):
            assert now_of(store, record).crashes == number
            assert len(claim(store, hire(store, clock, f"worker-{number}"))) == 1
            swept = self.die(store, other, clock)
            assert swept.rescued == 1
        after = now_of(store, record)
        assert (after.state, after.crashes, after.failures) == (JobState.FAILED, MAX_CRASHES, 0)
        assert after.error is not None
        assert after.error.type == "WorkerDied"
        assert (list(swept.hints), after.finished_at) == ([], clock.now())

    def test_of_jobs_with_a_last_chance_one_had_begun(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """A worker runs one after the other: those behind it never began, and are not counted."""
        last = MAX_CRASHES - 1
        records = [make_record(crashes=last), make_record(crashes=last), make_record()]
        for record in put(store, *records):
            assert [job.id for job in claim(store, worker)] == [record.id]
            clock.advance(0.001)
        if isinf(store.rescue_after):
            return
        swept = self.die(store, other, clock)
        after = [now_of(store, record) for record in records]
        assert [each.crashes for each in after] == [MAX_CRASHES, last, 1]
        assert [each.attempts for each in after] == [1, 0, 1]
        assert after[1].state is JobState.QUEUED
        assert {job.id for job in swept.crashed} == {records[0].id, records[2].id}
        assert {hint.job_id for hint in swept.hints} == {records[1].id, records[2].id}

    def test_a_dead_workers_job_is_cancelled_if_somebody_asked(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """It is not run again only to be stopped."""
        running = start(store, worker)
        store.command(running.id, Cancel())
        swept = self.die(store, other, clock)
        rescued = not isinf(store.rescue_after)
        assert (swept.rescued, list(swept.hints)) == (int(rescued), [])
        state = JobState.CANCELLED if rescued else JobState.RUNNING
        assert now_of(store, running).state is state

    @pytest.mark.parametrize("seconds", [0.0, 1.0])
    def test_a_worker_that_has_just_come_is_alive(
        self, store: Store, clock: PatientClock, worker: str, seconds: float
    ) -> None:
        """Its first beat is yet to come."""
        running = start(store, worker)
        clock.advance(seconds)
        assert store.sweep(100, {}).rescued == 0
        assert now_of(store, running).started_at == clock.now() - timedelta(seconds=seconds)
