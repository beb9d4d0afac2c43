"""The worker: this process, as the one that claims jobs and runs them."""

from __future__ import annotations

import itertools
import os
import platform
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flask_later import signals
from flask_later.config import Settings
from flask_later.core.engine import Ran, ServeOptions, never
from flask_later.core.job import Hint, JobRecord, StopReason
from flask_later.core.states import settled
from flask_later.core.store import (
    BEAT,
    DUE,
    NOTHING,
    Again,
    Cancelled,
    Claim,
    Failed,
    Handover,
    Note,
    Outcome,
    Parked,
    Released,
    Succeeded,
    Want,
    WorkerRecord,
)
from flask_later.errors import StoreError
from flask_later.logs import Log
from flask_later.runtime import execution
from flask_later.runtime.coroutines import Loops
from flask_later.runtime.execution import Call, Ended
from flask_later.runtime.hand import Hand, Pace, Watch
from flask_later.tasks.current import Attempt
from flask_later.tasks.state import AppState

_logger = Log(__name__)

#: Seconds between two notes of the same attempt, so that progress costs few commits.
_NOTE_EVERY = 0.5
#: Seconds between two tries while the store does not answer: the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_SIGNALS = {
    Succeeded: signals.job_succeeded,
    Failed: signals.job_failed,
    Again: signals.job_retried,
    Released: signals.job_released,
    Cancelled: signals.job_cancelled,
    Parked: signals.job_parked,
}


class _Running(NamedTuple):
    """An attempt in hand, with what its timeout needs."""

    attempt: Attempt
    record: JobRecord
    call: Call
    thread: threading.Thread
    started: float


class _Ending(NamedTuple):
    """An attempt that has ended, and is not settled yet."""

    record: JobRecord
    ended: Ended


class WorkerOptions(NamedTuple):
    """What one process takes, and how much of it at a time."""

    threads: int
    #: In strict order; None for any queue.
    queues: tuple[str, ...] | None = None
    #: What people see in place of the name of the machine.
    name: str = ""

    @classmethod
    def of(cls, settings: Settings) -> WorkerOptions:
        """What a process does that serves requests as well."""
        return cls(settings.threads, settings.queues)


class Worker:
    """Claims jobs of one app for one process, runs them, and settles them."""

    def __init__(self, state: AppState, options: WorkerOptions) -> None:
        self.id = os.urandom(16).hex()
        self.options = options
        self._state = state
        self._store = state.store
        self._clock = state.clock
        self._want_one = Want(1, options.queues)
        self._pace = Pace()
        self._watch_hands: Watch[_Ending] = Watch(self._relieve)
        self._loops = Loops()
        self._lock = threading.Lock()
        self._registered = False
        self._stopping = threading.Event()
        self._running: dict[Claim, _Running] = {}
        #: What each thread is at, also after its attempt was taken from it.
        self._at_work: dict[Claim, _Running] = {}
        self._counter = itertools.count(1)
        #: Attempts that have ended so far.
        self.ended = 0
        self._last_note = 0.0
        self._noting = threading.Lock()
        #: Whether it has said good-bye to the store.
        self._left = False
        #: Exchanges in a row that the store has not answered.
        self._unanswered = 0

    # A part of the process

    def start(self) -> None:
        self._state.engine.serve(ServeOptions(self.options.threads, self.options.queues))

    def stop(self) -> None:
        self._stopping.set()
        for running in [*self._running.values()]:
            running.attempt.ask_to_stop(StopReason.SHUTDOWN)
        self._store.wake(())

    def join(self, deadline: float) -> None:
        """Wait for the attempts in hand, then give back those that are left."""
        self._state.engine.close(max(0.0, deadline - time.monotonic()))
        self._watch_hands.end(deadline)
        left = [running for running in [*self._running.values()] if running.attempt.disown()]
        released = self._release(left)
        self.close_loops()
        lost = 0 if self._store.durable else self._count_lost()
        signals.send(
            signals.worker_stopped, self._state.app, worker=self.id, released=released, lost=lost
        )

    @property
    def is_busy(self) -> bool:
        """Whether it has attempts in hand."""
        return bool(self._running)

    @property
    def stuck(self) -> tuple[str, ...]:
        """The jobs whose time was up, and whose threads still run."""
        taken = [*self._at_work.items()]
        return tuple(each.record.id for claim, each in taken if claim not in self._running)

    def close_loops(self) -> None:
        """Close the event loops that ran coroutines, but for those of threads that are stuck."""
        self._loops.close()

    def _release(self, left: Sequence[_Running]) -> int:
        for running in left:
            _logger.warning(
                "job %s (%s) still runs while its process ends; it is given back",
                running.record.id,
                running.record.task,
            )
        with self._noting:
            self._left = True
        try:
            handover = self._store.exchange(
                self.id, [Released(running.attempt.claim) for running in left], NOTHING
            )
            self._store.retire(self.id)
        except StoreError:
            _logger.exception("jobs could not be given back; they run again when they are missed")
            return 0
        for running in left:
            claim = running.attempt.claim
            self._announce(running.record, Ended(Released(claim)), handover)
        return len(handover.done)

    def _count_lost(self) -> int:
        pending = sum(
            count
            for queue in self._store.stats()
            for state, count in queue.counts.items()
            if state in ("queued", "scheduled", "running")
        )
        if pending:
            _logger.warning(
                "%d jobs are lost with the memory store of this process. "
                "LATER_STORE = 'sqlite:///later.sqlite3' keeps them",
                pending,
            )
        return pending

    # What engines call

    def run(self, hint: Hint | None = None, more: Callable[[], bool] = never) -> Ran:
        """Claim a job and run it: see :class:`~flask_later.core.engine.Run`."""
        if self._stopping.is_set() or not self._is_ours(hint):
            return Ran.REFUSED
        self._register()
        claimed = self._exchange([], self._want_one._replace(prefer=hint)).claimed
        if not claimed:
            return Ran.EMPTY
        hand: Hand[_Ending] = Hand()
        hand.claim(claimed)
        self._watch_hands.add(hand)
        try:
            self._work_off(hand, more)
        finally:
            self._watch_hands.remove(hand)
            if not hand.is_empty:
                self._relieve(hand)
        return Ran.RAN

    def _work_off(self, hand: Hand[_Ending], more: Callable[[], bool]) -> None:
        """Run what is in *hand*; once it is empty, settle all of it and claim the next."""
        while True:
            record = hand.begin()
            if record is not None:
                self._play(record, hand)
                if hand.claimed and not more():
                    self._relieve(hand)
                elif hand.claimed and hand.is_overdue:
                    self._settle(hand.take_ended())
            elif not self._refill(hand, more):
                return

    def _play(self, record: JobRecord, hand: Hand[_Ending]) -> None:
        """Run *record*, after those are let go who should not have to wait for it."""
        if not hand.is_empty and not (hand.is_fresh and self._pace.is_short(record.task)):
            self._relieve(hand)
        if self._stopping.is_set() or not hand.is_fresh:
            # The claim crossed the stop, which no longer waits for it.
            self._settle([], [record])
        else:
            self._run(record, hand)

    def _refill(self, hand: Hand[_Ending], more: Callable[[], bool]) -> bool:
        """Settle what has ended, and claim as many as the pace allows; return whether some came."""
        want = NOTHING
        if more() and not self._stopping.is_set():
            size = hand.next_size()
            alone = size == 1 or not self._watch_hands.start()
            want = self._want_one if alone else self._want_one._replace(limit=size)
        claimed = self._settle(hand.take_ended(), want=want)
        hand.claim(claimed)
        if len(claimed) > 1:
            self._watch_hands.attend()
        return bool(claimed)

    def _relieve(self, hand: Hand[_Ending]) -> None:
        """Settle what has ended, and give back what has not begun, for others to take."""
        self._settle(hand.take_ended(), hand.take_claimed())

    def _is_ours(self, hint: Hint | None) -> bool:
        if hint is None or hint.store == self._store.identity:
            return True
        _logger.error(
            "a hint of store %s was refused, this worker uses store %s: two stores share a broker, "
            "or web and worker do not have the same LATER_STORE",
            hint.store,
            self._store.identity,
        )
        return False

    def _register(self) -> None:
        if self._registered:
            return
        with self._lock:
            if not self._registered:
                self._store.register(self._record())
                self._registered = True

    def _record(self) -> WorkerRecord:
        options = self.options
        return WorkerRecord(
            self.id,
            options.name or platform.node(),
            os.getpid(),
            self._clock.now(),
            options.queues,
            options.threads,
        )

    def _run(self, record: JobRecord, hand: Hand[_Ending]) -> None:
        """Run *record*, and put its outcome into *hand*."""
        call = execution.find_call(self._state, record)
        if isinstance(call, Ended):
            hand.end(_Ending(record, call))
            return
        attempt = self._attempt(record, call)
        started = self._clock.monotonic()
        running = _Running(attempt, record, call, threading.current_thread(), started)
        self._running[attempt.claim] = self._at_work[attempt.claim] = running
        settling = False
        try:
            if self._stopping.is_set():
                attempt.ask_to_stop(StopReason.SHUTDOWN)
            if record.timeout is not None:
                # Maintenance has to know of a deadline that comes before its next look.
                self._store.wake((DUE,))
            ended = execution.run(self._state, call, attempt, record, self._loops.run)
            self._note_last(attempt)
            self._pace.note(record.task, time.monotonic() - hand.busy_since)
            # Whoever took the attempt away settles it; this thread may have been replaced.
            settling = attempt.disown()
            if settling:
                hand.end(_Ending(record, ended))
        finally:
            self._at_work.pop(attempt.claim)
            if not settling and attempt.disown():
                # Interrupted.
                self._running.pop(attempt.claim, None)
            self.ended = next(self._counter)

    def _attempt(self, record: JobRecord, call: Call) -> Attempt:
        return Attempt(
            record.id,
            record.task,
            record.queue,
            record.fence,
            record.attempts,
            record.scheduled_at,
            call.snapshot,
            self._news,
        )

    def _settle(
        self,
        endings: Sequence[_Ending],
        unbegun: Sequence[JobRecord] = (),
        want: Want = NOTHING,
    ) -> Sequence[JobRecord]:
        """Tell the store what has ended, and give back *unbegun*; return what it handed out."""
        outcomes = [ending.ended.outcome for ending in endings]
        back = [Released(Claim(each.id, each.fence), begun=False) for each in unbegun]
        if not outcomes and not back and want is NOTHING:
            return ()
        try:
            handover = self._exchange([*outcomes, *back], want)
            for record, ended in endings:
                self._announce(record, ended, handover)
        finally:
            # Until it is settled it is in hand: beats must not leave it out.
            for outcome in outcomes:
                self._running.pop(outcome.claim, None)
        if back:
            self._state.engine.deliver([self._hint(each) for each in unbegun])
        return handover.claimed

    def _hint(self, given_back: JobRecord) -> Hint:
        fence = given_back.fence + 1
        return Hint(self._store.identity, given_back.queue, given_back.id, fence)

    def _exchange(self, outcomes: Sequence[Outcome], want: Want) -> Handover:
        """Ask the store until it answers: an outcome must not be lost because it is busy."""
        while True:
            try:
                handover = self._store.exchange(self.id, outcomes, want)
            except StoreError as error:
                self._wait_for_store(error, bool(outcomes))
            else:
                self._unanswered = 0
                if handover.cancelled:
                    self._announce_expired(outcomes, handover.cancelled)
                return handover
            if not outcomes:
                return Handover()

    def _wait_for_store(self, error: StoreError, outcomes: bool) -> None:
        """Pause, longer each time: without that, all threads would ask on and on."""
        pause = min(_FIRST_PAUSE * 2.0 ** min(self._unanswered, 10), _LONGEST_PAUSE)
        self._unanswered += 1
        doing = "an outcome could not be stored, trying again" if outcomes else "looking again"
        _logger.warning("the store does not answer; %s in %.2g s", doing, pause, exc_info=error)
        pause = random.uniform(pause / 2, pause)
        if outcomes:
            time.sleep(pause)
        else:
            # Who holds nothing has no reason to hold up a stop.
            self._stopping.wait(pause)

    def _announce_expired(
        self, outcomes: Sequence[Outcome], cancelled: Sequence[JobRecord]
    ) -> None:
        """Say what the store cancelled while it looked for a job; the outcomes speak of theirs."""
        ours = {each.claim.job_id for each in outcomes if each != Released(each.claim, begun=False)}
        for job in cancelled:
            if job.id not in ours:
                signals.send(signals.job_cancelled, self._state.app, job=job, exception=None)

    def _announce(self, record: JobRecord, ended: Ended, handover: Handover) -> None:
        """Say what happened. The record is made by the rule that the store has applied."""
        app = self._state.app
        claim = ended.outcome.claim
        if claim in handover.stale:
            signals.send(signals.outcome_dropped, app, job=record, claim=claim)
            return
        for job in handover.cancelled:
            if job.id == record.id:
                # It would have waited again, but somebody had asked to cancel it.
                signals.send(signals.job_cancelled, app, job=job, exception=ended.exception)
                return
        if isinstance(ended.outcome, Succeeded) and not signals.job_succeeded.receivers:
            return  # nobody to make the record for
        running = self._running.get(claim)
        if running is not None:
            record = record._replace(progress=running.attempt.latest_progress)
        signal = _SIGNALS[type(ended.outcome)]
        if signal.receivers:
            after = settled(record, ended.outcome, self._clock.now())
            facts: dict[str, object] = {"job": after, "exception": ended.exception}
            if isinstance(ended.outcome, Parked):
                facts["reason"] = ended.outcome.error.message
            signals.send(signal, app, **facts)

    # Notes: progress and log lines on their way out, requests to stop on their way in

    def _news(self, attempt: Attempt) -> None:
        if self._clock.monotonic() - self._last_note >= _NOTE_EVERY:
            self.beat()

    def _note_last(self, attempt: Attempt) -> None:
        note = attempt.take_note()
        if note is not None:
            self._try_note([note])

    @property
    def needs_beat(self) -> bool:
        """Whether something is in hand, or nobody has told the store for a while that it is not."""
        return bool(self._running) or self._clock.monotonic() - self._last_note >= BEAT

    def beat(self) -> None:
        """Tell the store what is in hand, and the attempts in hand what the store says."""
        if not self._registered:
            return
        self._last_note = self._clock.monotonic()
        notes = [running.attempt.take_note() for running in [*self._running.values()]]
        self._try_note([note for note in notes if note is not None])

    def _try_note(self, notes: Sequence[Note]) -> None:
        running = {each.attempt.claim: each.attempt for each in [*self._running.values()]}
        # A beat that overtakes the end would make the worker known again.
        with self._noting:
            if self._left:
                return
            waiting = [record for hand in self._watch_hands.hands for record in hand.claimed]
            holding = {*running, *(Claim(record.id, record.fence) for record in waiting)}
            try:
                stops = self._store.note(self.id, holding, notes)
            except StoreError:
                _logger.warning("the store does not answer; progress was not stored", exc_info=True)
                return
        for claim, reason in stops.items():
            # One that has not begun is in hand for milliseconds: the next beat tells it.
            if claim in running:
                running[claim].ask_to_stop(reason)

    # Timeouts

    def watch(self) -> float | None:
        """Take away the attempts whose time is up; return seconds to the next deadline."""
        left: list[float] = []
        for running in [*self._running.values()]:
            timeout = running.record.timeout
            if timeout is None:
                continue
            remaining = running.started + timeout - self._clock.monotonic()
            if remaining > 0:
                left.append(remaining)
            elif running.attempt.disown():
                self._time_out(running, timeout)
        return min(left, default=None)

    def _time_out(self, running: _Running, timeout: float) -> None:
        record = running.record
        error = TimeoutError(f"The attempt took longer than its timeout of {timeout:g} s.")
        _logger.warning("job %s (%s): %s", record.id, record.task, error)
        running.attempt.ask_to_stop(StopReason.TIMEOUT)
        ended = execution.judge(
            running.attempt.claim,
            running.call.task.options.retry,
            record.failures,
            error,
            self._clock.now(),
            taken=True,
        )
        self._settle([_Ending(record, ended)])
        self._state.engine.replace(running.thread)
