"""Who is woken for a job: as few threads as will do, and never one too few."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from random import Random

import pytest
from tests.shop import PATIENCE, Shop, until

from flask_later.core.clock import SystemClock
from flask_later.core.engine import Ran, ServeOptions
from flask_later.engines import native
from flask_later.engines.native import NativeEngine
from flask_later.stores import waiters
from flask_later.stores.memory import MemoryStore
from flask_later.stores.waiters import Waiters
from flask_later.testing.records import make_record

THREADS = 8
#: Less than ``REHINT_AFTER``, so that no sweep hides a lost wake-up.
AT_ONCE = 4.0


class Sleepers:
    """Threads that wait for the queue ``a``, each once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.has_something = True
        self.waiters = Waiters(self.lock, SystemClock(), lambda queue: self.has_something)
        self.back: list[threading.Thread] = []

    def lie_down(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._sleep, daemon=True)
            lying = threading.Event()
            self._lying = lying
            thread.start()
            assert lying.wait(PATIENCE)
            # The event was set under the lock, which is free again once the thread sleeps.
            with self.lock:
                pass

    def _sleep(self) -> None:
        with self.lock:
            self._lying.set()
            self.waiters.wait(["a"], 10 * PATIENCE)
            self.back.append(threading.current_thread())

    def stay(self, count: int) -> bool:
        """Whether so many are back, and no more come."""
        until(lambda: len(self.back) >= count)
        time.sleep(0.05)
        return len(self.back) == count


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    sleepers = Sleepers()
    sleepers.lie_down(4)
    yield sleepers
    with sleepers.lock:
        sleepers.waiters.wake(())


def test_one_hint_wakes_one_thread(sleepers: Sleepers) -> None:
    """Not the herd."""
    with sleepers.lock:
        sleepers.waiters.wake(["a"])
    assert sleepers.stay(1)


def test_hints_wake_the_next_once_the_one_before_is_back(sleepers: Sleepers) -> None:
    """It comes back and passes the wake on, and so on until nobody sleeps."""
    with sleepers.lock:
        for _ in range(5):
            sleepers.waiters.wake(["a"])
    assert sleepers.stay(4)


def test_what_is_done_already_wakes_nobody(sleepers: Sleepers) -> None:
    """Whoever was awake has done the burst before the first one was back."""
    sleepers.has_something = False
    with sleepers.lock:
        for _ in range(5):
            sleepers.waiters.wake(["a"])
    assert sleepers.stay(1)
    with sleepers.lock:
        sleepers.waiters.wake(["a"])
    assert sleepers.stay(2), "the next hint counts again"


def test_a_thread_that_gives_up_forgets_nothing(sleepers: Sleepers) -> None:
    """One whose time is over while it is woken still passes the wake on."""
    with sleepers.lock:
        sleepers.waiters.wake(["a"])
        sleepers.waiters.wake_all("a")
        sleepers.waiters.wake(["a"])
    assert sleepers.stay(4)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_burst_of_long_jobs_gets_all_threads(
    store: str, sleep_on: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Again and again, in every order: each time all of them run at once."""
    path = tmp_path_factory.mktemp("store") / "later.sqlite3"
    uri = "memory://" if store == "memory" else f"sqlite:///{path}"
    random = Random(8)
    with Shop(THREADS=THREADS, STORE=uri) as shop:
        met = threading.Barrier(THREADS + 1)

        @shop.later.task
        def meet() -> None:
            met.wait(AT_ONCE)

        for _ in range(40 if store == "memory" else 8):
            pause = random.choice([None, 0, 0.0001, 0.002])
            for _ in range(THREADS):
                shop.enqueue(meet)
                if pause is not None:
                    time.sleep(pause)
            met.wait(AT_ONCE)


def test_no_job_is_left_behind_by_short_ones(sleep_on: None) -> None:
    """Several threads enqueue in bursts, while those that work fall asleep and are woken."""
    with Shop(THREADS=THREADS) as shop:
        done: list[int] = []
        task = shop.later.task(name="note")(done.append)
        shop.later.start(shop.app)

        def enqueue(seed: int) -> None:
            random = Random(seed)
            with shop.app.app_context():
                for number in range(300):
                    task.enqueue(number)
                    if random.random() < 0.1:
                        time.sleep(random.random() / 500)

        threads = [threading.Thread(target=enqueue, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        until(lambda: len(done) == 1200)


def test_a_thread_that_ends_passes_its_wake_on(sleep_on: None) -> None:
    """Two engines share a store: the one that stops leaves the job to the other."""
    store = MemoryStore(SystemClock())
    ran = threading.Event()
    stops, goes_on = NativeEngine(), NativeEngine()
    stops.bind(_rest(store, threading.Event()), store)
    goes_on.bind(_rest(store, ran), store)
    stops.serve(ServeOptions(1))
    until(lambda: store._waiters.any_for(["default"]))
    goes_on.serve(ServeOptions(1))
    until(lambda: len(store._waiters._waiting.get("@any", ())) == 2)
    stops._closing.set()
    store.add([make_record()])
    store.wake(["default"])  # the first in line, which does not take it any more
    assert ran.wait(AT_ONCE)
    stops.close(PATIENCE)
    goes_on.close(PATIENCE)


def _rest(store: MemoryStore, found: threading.Event) -> Callable[..., Ran]:
    """Return what lies down, and tells whether it then finds a job that it may run."""

    def run(hint: object, more: Callable[[], bool], patience: float) -> Ran:
        store.wait((), patience)
        if store.stats() and more():
            found.set()
        return Ran.EMPTY

    return run


@pytest.fixture
def sleep_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks again without being woken: what a lost wake-up costs shows."""
    monkeypatch.setattr(native, "_NAP", 10 * PATIENCE)


# Hints held back while a thread looks again by itself


class Patient(Sleepers):
    """Somebody else works on the queue, and the timer is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = 0
        self.waiters = Waiters(self.lock, SystemClock(), lambda _: self.has_something, self._arm)

    def _arm(self) -> bool:
        self.armed += 1
        return True

    def spread(self) -> list[str]:
        with self.lock:
            return self.waiters.spread()


@pytest.fixture
def patient() -> Iterator[Patient]:
    patient = Patient()
    patient.lie_down(4)
    yield patient
    with patient.lock:
        patient.waiters.wake(())


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever got work once is taken to look again soon."""
    monkeypatch.setattr(waiters, "_LOOKS_AGAIN", 1000.0)


def test_a_hint_wakes_nobody_while_a_thread_looks_again(sooner: None, patient: Patient) -> None:
    """A burst of short jobs costs no wake-ups; a moment later one more thread is woken."""
    patient.waiters.looked(1, 1)
    with patient.lock:
        for _ in range(5):
            patient.waiters.wake(["a"])
    assert patient.stay(0)
    assert patient.armed
    assert patient.spread() == []
    assert patient.stay(1)
    assert patient.spread() == []
    assert patient.stay(2)


def test_a_burst_that_is_done_wakes_nobody(sooner: None, patient: Patient) -> None:
    """The thread that looked again has done it all."""
    patient.waiters.looked(1, 1)
    with patient.lock:
        patient.waiters.wake(["a"])
    patient.has_something = False
    assert patient.spread() == []
    assert patient.stay(0)


def test_a_long_job_holds_back_the_others_for_a_moment_only(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread does not look again, so the jobs are long: then all others are woken."""
    monkeypatch.setattr(waiters, "_LOOKS_AGAIN", 1000.0)
    patient.waiters.looked(1, 1)
    with patient.lock:
        patient.waiters.wake(["a"])
    monkeypatch.setattr(waiters, "_LOOKS_AGAIN", 0.0)
    patient.spread()
    assert patient.stay(4)


def test_who_lies_down_does_not_look_again(sooner: None, patient: Patient) -> None:
    """Then the next hint wakes at once."""
    patient.waiters.looked(1, 1)
    with patient.lock:
        patient.waiters.wait(["b"], 0.001)
        patient.waiters.wake(["a"])
    assert patient.stay(1)


def test_a_queue_without_waiters_is_told_elsewhere(sooner: None, patient: Patient) -> None:
    """All of this process are busy, those of another may not be."""
    patient.waiters.looked(1, 1)
    with patient.lock:
        patient.waiters.wake(["b"])
    assert patient.spread() == ["b"]


def test_what_falls_due_is_never_held_back(sooner: None, patient: Patient) -> None:
    """Only a queue has somebody who looks again."""
    patient.waiters.looked(1, 1)
    with patient.lock:
        patient.waiters.wake(["@due"])
    assert not patient.armed


def test_a_thread_that_is_replaced_while_it_sleeps_ends() -> None:
    """Its job ended just before its time was up, and it has lain down since."""
    store, engine = MemoryStore(SystemClock()), NativeEngine()
    engine.bind(_rest(store, threading.Event()), store)
    engine.serve(ServeOptions(1))
    try:
        assert engine._group is not None
        (thread,) = engine._group.threads
        until(store._waiters.any)
        engine.replace(thread)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    finally:
        engine.close(PATIENCE)


def test_a_thread_that_keeps_up_needs_no_company(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes whatever comes, and is back at once: others would only get into its way."""
    monkeypatch.setattr(waiters, "_KEEPS_UP", 1000.0)
    for _ in range(2):
        patient.waiters.looked(got=3, wanted=8)
    with patient.lock:
        patient.waiters.wake(["a"])
    assert patient.spread() == []
    assert patient.stay(0)
    assert patient.armed == 2, "it is looked at again in a moment"
    monkeypatch.setattr(waiters, "_KEEPS_UP", 0.0)
    patient.spread()
    assert patient.stay(4), "it was kept by a long job"


def test_a_thread_that_leaves_work_behind_gets_company(
    sooner: None, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is more than it takes at a time, and its jobs are not tiny."""
    monkeypatch.setattr(waiters, "_KEEPS_UP", 1000.0)
    monkeypatch.setattr(waiters, "_TINY", 0.0)
    for _ in range(2):
        patient.waiters.looked(got=8, wanted=8)
    with patient.lock:
        patient.waiters.wake(["a"])
    assert patient.spread() == []
    assert patient.stay(1)


def test_a_thread_that_is_just_looking_needs_no_company(patient: Patient) -> None:
    """It will get what was hinted at: asking a database takes a while."""
    patient.waiters.looks()
    with patient.lock:
        patient.waiters.wake(["a"])
    assert patient.stay(0)
    assert patient.armed
    patient.waiters.looked(0, 1)
    with patient.lock:
        patient.waiters.wake(["a"])
    assert patient.stay(1), "it has looked, and got nothing"


def test_a_thread_that_looks_for_too_long_is_not_waited_for(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may have answered everybody but it."""
    monkeypatch.setattr(waiters, "_LOOKS", 0.0)
    patient.waiters.looks()
    with patient.lock:
        patient.waiters.wake(["a"])
    assert patient.stay(1)


def test_who_got_nothing_of_what_is_ready_does_not_look_again(patient: Patient) -> None:
    """Others are about to claim it; in case they are not, somebody looks in a moment."""
    patient.waiters.looked(0, 1)
    with patient.lock:
        assert patient.waiters.has_just_missed(["b"])
    assert patient.armed
    with patient.lock:
        assert not patient.waiters.has_just_missed(["b"]), "that was some time ago"


def test_who_has_got_something_looks_again(patient: Patient) -> None:
    """As does who waits for the end of a job."""
    with patient.lock:
        assert not patient.waiters.has_just_missed(["b"]), "it has not looked"
        patient.waiters.looked(1, 1)
        assert not patient.waiters.has_just_missed(["b"]), "it got one"
        patient.waiters.looked(0, 1)
        assert not patient.waiters.has_just_missed(["@due"])


def test_who_got_nothing_looks_again_where_nobody_else_would(sleepers: Sleepers) -> None:
    """There is no timer that would wake it for what comes now."""
    sleepers.waiters.looked(0, 1)
    with sleepers.lock:
        assert not sleepers.waiters.has_just_missed(["b"])


def test_what_was_heard_of_is_not_passed_on(patient: Patient) -> None:
    """Processes that are all busy would tell each other for ever."""
    with patient.lock:
        patient.waiters.look_later("b")
    assert patient.armed
    assert patient.spread() == []
