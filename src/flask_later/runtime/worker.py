"""The worker: this process, as the one that claims jobs and runs them."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_later import signals
from flask_later.core.engine import Ran, ServeOptions, never
from flask_later.core.exchange import NOTHING, Claim, Handover, Outcome, Released, Want
from flask_later.core.job import Hint, JobRecord, StopReason
from flask_later.core.states import has_last_chance
from flask_later.core.store import DUE
from flask_later.errors import StoreCorruptError, StoreError
from flask_later.logs import Log
from flask_later.runtime import execution
from flask_later.runtime.announcing import Announcer
from flask_later.runtime.asking import Asking
from flask_later.runtime.at_work import AtWork, Running
from flask_later.runtime.beats import Beats
from flask_later.runtime.execution import Call, Ended
from flask_later.runtime.foreign_hints import ForeignHints
from flask_later.runtime.hand import GATHER, Hand, Pace, Watch
from flask_later.runtime.loading import load
from flask_later.runtime.losses import count_lost
from flask_later.runtime.worker_options import WorkerOptions
from flask_later.tasks.current import Attempt
from flask_later.tasks.state import AppState

if TYPE_CHECKING:
    from flask_later.runtime.coroutines import Loops

_logger = Log(__name__)


class _Ending(NamedTuple):
    """An attempt that has ended, and is not settled yet."""

    record: JobRecord
    ended: Ended


class Worker:
    """Claims jobs of one app for one process, runs them, and settles them."""

    def __init__(self, state: AppState, options: WorkerOptions) -> None:
        self.id = os.urandom(16).hex()
        self.options = options
        self._state = state
        self._store = state.parts.store
        self._clock = state.clock
        self._want_one = Want(1, options.queues)
        self._pace = Pace()
        self._watch_hands: Watch[_Ending] = Watch(self._relieve)
        self._loops: Loops | None = None
        self._lock = threading.Lock()
        self._registered = False
        self._stopping = threading.Event()
        self._at_work = AtWork(self._clock, self._stopping)
        self._foreign = ForeignHints(self._store)
        self._asking = Asking(self._store, self.id, self._stopping)
        self._announcer = Announcer(state.app, self._clock)
        self._beats = Beats(
            self._store, self.id, self._clock, self._at_work.attempts, self._unbegun
        )
        self._counter = itertools.count(1)
        #: Attempts that have ended so far.
        self.ended = 0
        #: Is called with each attempt that ends, and how many those are.
        self.on_ended: Callable[[int], None] = _do_nothing
        #: Why it takes nothing more although nobody told it to stop.
        self.damage: StoreCorruptError | None = None
        #: Is called then.
        self.on_damage: Callable[[], None] = _do_nothing

    # A part of the process

    def start(self) -> None:
        self._state.engine.serve(ServeOptions(self.options.threads, self.options.queues))
        if self.damage is not None:
            # Maintenance began earlier, and gave up when there was no thread to tell it.
            self._state.engine.close(0.0)

    def stop(self) -> None:
        self._stopping.set()
        for running in self._at_work.in_hand:
            running.attempt.ask_to_stop(StopReason.SHUTDOWN)
        self._store.wake(())

    def join(self, deadline: float) -> None:
        """Wait for the attempts in hand, then give back those that are left."""
        self._state.engine.close(max(0.0, deadline - time.monotonic()))
        self._watch_hands.end(deadline)
        left = [running for running in self._at_work.in_hand if running.attempt.disown()]
        # Who has never registered has nothing to give back; a damaged file takes nothing back.
        released = self._release(left) if self._registered and self.damage is None else 0
        self.close_loops()
        lost = 0 if self._store.durable else count_lost(self._store)
        signals.send(
            signals.worker_stopped, self._state.app, worker=self.id, released=released, lost=lost
        )

    @property
    def is_busy(self) -> bool:
        """Whether it has attempts in hand."""
        return self._at_work.is_busy

    @property
    def stuck(self) -> tuple[str, ...]:
        """The jobs whose time was up, and whose threads still run."""
        return self._at_work.stuck

    def close_loops(self) -> None:
        """Close the event loops that ran coroutines, but for those of threads that are stuck."""
        if self._loops is not None:
            self._loops.close()

    def _release(self, left: Sequence[Running]) -> int:
        for running in left:
            _logger.warning(
                "job %s (%s) still runs while its process ends; it is given back",
                running.record.id,
                running.record.task,
            )
        self._beats.stop()
        self._beats.await_last()
        try:
            handover = self._store.exchange(
                self.id, [Released(running.attempt.claim) for running in left], NOTHING
            )
            self._store.retire(self.id)
        except StoreError as error:
            told = "jobs could not be given back; they run again when they are missed. %s"
            _logger.warning(told, error)
            return 0
        for running in left:
            claim = running.attempt.claim
            self._announce(running.record, Ended(Released(claim)), handover)
        return len(handover.done)

    # What engines call

    def run(
        self,
        hint: Hint | None = None,
        more: Callable[[], bool] = never,
        patience: float = 0.0,
    ) -> Ran:
        """Claim a job and run it: see :class:`~flask_later.core.engine.Run`."""
        try:
            return self._claim_and_run(hint, more, patience)
        except StoreCorruptError as error:
            self.give_up(error)
            return Ran.REFUSED

    def give_up(self, damage: StoreCorruptError) -> None:
        """Take nothing more, for good: the more is written to a damaged file, the less is saved."""
        with self._lock:
            if self.damage is not None:
                return
            self.damage = damage
        self._beats.stop()
        _logger.critical("this process runs no more jobs. %s", damage)
        self._stopping.set()
        self._state.engine.close(0.0)
        self.on_damage()

    def _claim_and_run(self, hint: Hint | None, more: Callable[[], bool], patience: float) -> Ran:
        if self._stopping.is_set() or self._foreign.refuse(hint):
            return Ran.REFUSED
        self.register()
        want = self._want_one._replace(prefer=hint)
        claimed = self._asking.stand_by(want, patience) if patience else ()
        if not claimed and (not patience or more()):
            claimed = self._exchange([], want).claimed
        if not claimed:
            return Ran.EMPTY
        hand: Hand[_Ending] = Hand()
        hand.claim(claimed, 1)
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
            if not alone and hand.may_gather:
                time.sleep(GATHER)
        claimed = self._settle(hand.take_ended(), want=want)
        hand.claim(claimed, want.limit)
        if len(claimed) > 1:
            self._watch_hands.attend()
        return bool(claimed)

    def _relieve(self, hand: Hand[_Ending]) -> None:
        """Settle what has ended, and give back what has not begun, for others to take."""
        self._settle(hand.take_ended(), hand.take_claimed())

    def register(self) -> None:
        """Make this worker known to the store, unless it is."""
        if self._registered:
            return
        with self._lock:
            if not self._registered:
                self._store.register(self.options.record(self.id, self._clock.now()))
                self._registered = True

    def _run(self, record: JobRecord, hand: Hand[_Ending]) -> None:
        """Run *record*, and put its outcome into *hand*."""
        call = execution.find_call(self._state, record)
        if isinstance(call, Ended):
            hand.end(_Ending(record, call))
            return
        attempt = self._attempt(record, call)
        alone = has_last_chance(record)
        started = math.inf if alone else self._clock.monotonic()
        running = Running(attempt, record, call, threading.current_thread(), started)
        self._at_work.take(running)
        settling = False
        try:
            if self._stopping.is_set():
                attempt.ask_to_stop(StopReason.SHUTDOWN)
            if alone and not self._at_work.begin_alone(running):
                self._settle([], [record])
                return
            if record.timeout is not None:
                # Maintenance has to know of a deadline that comes before its next look.
                self._store.wake((DUE,))
            # Not since it was taken in hand: what was behind it may have been given back first.
            began = time.monotonic()
            ended = execution.run(self._state, call, attempt, record, self._run_coroutine)
            self._beats.tell_last(attempt)
            self._pace.note(record.task, time.monotonic() - began)
            # Whoever took the attempt away settles it; this thread may have been replaced.
            settling = attempt.disown()
            if settling:
                hand.end(_Ending(record, ended))
        finally:
            self._at_work.leave(attempt.claim)
            if not settling and attempt.disown():
                # Interrupted.
                self._at_work.drop(attempt.claim)
            self.ended = ended_so_far = next(self._counter)
            self.on_ended(ended_so_far)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], attempt: Attempt) -> Any:
        with self._lock:
            # Only now: asyncio takes more than a megabyte.
            loops: Loops = self._loops or load("runtime.coroutines", "Loops")()
            self._loops = loops
        return loops.run(coroutine, attempt)

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
            record.failures,
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
                self._at_work.drop(outcome.claim)
        # Whoever they were given back for has no hint at them.
        stopped = [record for record, ended in endings if isinstance(ended.outcome, Released)]
        if back or stopped:
            self._state.engine.deliver([self._hint(each) for each in (*unbegun, *stopped)])
        return handover.claimed

    def _hint(self, given_back: JobRecord) -> Hint:
        fence = given_back.fence + 1
        return Hint(self._store.identity, given_back.queue, given_back.id, fence)

    def _exchange(self, outcomes: Sequence[Outcome], want: Want) -> Handover:
        handover = self._asking.exchange(outcomes, want)
        if handover.cancelled:
            self._announcer.expired(outcomes, handover.cancelled)
        return handover

    def _announce(self, record: JobRecord, ended: Ended, handover: Handover) -> None:
        running = self._at_work.get(ended.outcome.claim)
        progress = None if running is None else running.attempt.latest_progress
        self._announcer.ended(record, ended, handover, progress)

    # Beats

    @property
    def needs_beat(self) -> bool:
        """Whether something is in hand, or nobody has told the store for a while that it is not."""
        return self.is_busy or self._beats.is_due

    def beat(self) -> None:
        """Tell the store what is in hand, and the attempts in hand what the store says."""
        if self._registered:
            self._beats.beat()

    def _news(self, attempt: Attempt) -> None:
        if self._beats.may_tell_news:
            self.beat()

    def _unbegun(self) -> Iterator[Claim]:
        for hand in self._watch_hands.hands:
            yield from (Claim(record.id, record.fence) for record in hand.claimed)

    # Timeouts

    def watch(self) -> float | None:
        """Take away the attempts whose time is up; return seconds to the next deadline."""
        overdue, next_in = self._at_work.overdue()
        for running in overdue:
            if running.attempt.disown():
                self._time_out(running)
        return next_in

    def _time_out(self, running: Running) -> None:
        record = running.record
        error = TimeoutError(f"The attempt took longer than its timeout of {record.timeout:g} s.")
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


def _do_nothing(*_: object) -> None:
    """Nobody wants to know."""
