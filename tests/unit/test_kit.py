"""The test kit in manual mode, through a real app."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from flask import Flask

from flask_later import Job, JobState, Later, Retry, TryAgain, current_job
from flask_later.errors import (
    EndlessWorkError,
    InvalidSettingError,
    ManualModeError,
    NotInitializedError,
    NotManualError,
)
from flask_later.tasks.state import KEY, AppState
from flask_later.testing import VirtualClock, advance, run_all


class Shop:
    """An app under test, and what its tasks did."""

    def __init__(self, **config: object) -> None:
        self.app = Flask("shop")
        self.app.config.from_mapping({"TESTING": True, **config})
        self.later = Later(self.app)
        self.seen: list[str] = []
        self.note = self.later.task(name="shop.note")(self._note)
        self.note_later = self.later.task(name="shop.note_later")(self._note_later)
        self.app.add_url_rule("/", view_func=self._view)

    def _note(self, text: str) -> None:
        self.seen.append(text)

    def _note_later(self, text: str, delay: float) -> None:
        self.note.using(delay=delay).enqueue(text)

    def _view(self) -> str:
        self.later.after_this_response(self._note, "callback")
        self.note.enqueue("job")
        return "ok"

    def enqueue(self, text: str, delay: float = 0.0) -> Job[None]:
        with self.app.app_context():
            return self.note.using(delay=delay).enqueue(text)

    @property
    def clock(self) -> VirtualClock:
        state: AppState = self.app.extensions[KEY]
        assert isinstance(state.clock, VirtualClock)
        return state.clock


@pytest.fixture
def shop() -> Shop:
    return Shop()


class TestRunAll:
    def test_nothing_runs_by_itself(self, shop: Shop) -> None:
        """An enqueue stores, and no more."""
        job = shop.enqueue("a")
        assert (job.refresh().state, shop.seen) == (JobState.QUEUED, [])

    def test_jobs_run_in_their_order(self, shop: Shop) -> None:
        """On the thread of the test."""
        jobs = [shop.enqueue(text) for text in "abc"]
        assert run_all(shop.app) == 3
        assert shop.seen == ["a", "b", "c"]
        assert {job.refresh().state for job in jobs} == {JobState.SUCCEEDED}

    def test_nothing_to_do_is_no_error(self, shop: Shop) -> None:
        """Nothing was enqueued, or all of it has run."""
        assert run_all(shop.app) == 0
        shop.enqueue("a")
        run_all(shop.app)
        assert run_all(shop.app) == 0

    def test_a_wait_names_what_to_call(self, shop: Shop) -> None:
        """Nobody would end it; once the job is finished it is no wait."""
        job = shop.enqueue("a")
        with pytest.raises(ManualModeError, match=r"run_all\(app\)"):
            job.wait(timeout=1)
        run_all(shop.app)
        assert job.wait(timeout=1).is_finished

    def test_callbacks_run_too(self, shop: Shop) -> None:
        """Those of the responses so far, and the jobs of the views."""
        shop.app.test_client().get("/")
        assert shop.seen == []
        assert run_all(shop.app) == 2
        assert sorted(shop.seen) == ["callback", "job"]

    def test_jobs_that_jobs_enqueue_run_too(self, shop: Shop) -> None:
        """Until nothing is left."""
        with shop.app.app_context():
            shop.note_later.enqueue("second", 0)
        assert run_all(shop.app) == 2
        assert shop.seen == ["second"]

    def test_a_failure_stays_with_its_job(self, shop: Shop) -> None:
        """The others run, and the test looks at the job."""

        @shop.later.task
        def fail() -> None:
            raise ValueError("no")

        with shop.app.app_context():
            failing, fine = fail.enqueue(), shop.note.enqueue("fine")
        assert run_all(shop.app) == 2
        assert (failing.refresh().state, fine.refresh().state) == ("failed", "succeeded")

    def test_a_coroutine_leaves_no_loop_behind(self, shop: Shop) -> None:
        """Tests turn warnings about what was not closed into errors."""
        import asyncio

        loops: list[asyncio.AbstractEventLoop] = []

        @shop.later.task
        async def look() -> None:
            loops.append(asyncio.get_running_loop())

        with shop.app.app_context():
            look.enqueue()
        run_all(shop.app)
        assert loops[0].is_closed()

    def test_work_without_end_is_refused(self, shop: Shop) -> None:
        """With the name of the task, which probably enqueues itself."""

        @shop.later.task(name="shop.again")
        def again() -> None:
            again.enqueue()

        with shop.app.app_context():
            again.enqueue()
        with pytest.raises(EndlessWorkError, match=r"^More than 20 .*'shop\.again'.*limit=200"):
            run_all(shop.app, limit=20)

    def test_as_much_work_as_the_limit_is_fine(self, shop: Shop) -> None:
        """One more would be too much."""
        for text in "abc":
            shop.enqueue(text)
        assert run_all(shop.app, limit=3) == 3

    def test_a_paused_queue_waits(self, shop: Shop) -> None:
        """As it would with threads."""
        with shop.app.app_context():
            shop.later.pause("default")
            shop.note.enqueue("a")
            assert run_all(shop.app) == 0
            shop.later.resume("default")
        assert run_all(shop.app) == 1


class TestAdvance:
    def test_what_falls_due_runs(self, shop: Shop) -> None:
        """At its time and no sooner."""
        job = shop.enqueue("a", delay=60)
        assert run_all(shop.app) == 0
        assert advance(shop.app, 59.9) == 0
        assert advance(shop.app, 0.1) == 1
        assert job.refresh().state is JobState.SUCCEEDED

    def test_jobs_run_in_the_order_of_their_times(self, shop: Shop) -> None:
        """Each finds the clock at its own time, and the test finds it at the end of all."""
        start = shop.clock.now()

        @shop.later.task
        def tell_time() -> float:
            return (shop.clock.now() - start).total_seconds()

        with shop.app.app_context():
            jobs = [tell_time.using(delay=delay).enqueue() for delay in (30, 10, 0, 20)]
        assert advance(shop.app, timedelta(minutes=1)) == 4
        assert [job.refresh().result for job in jobs] == [30, 10, 0, 20]
        assert shop.clock.now() == start + timedelta(minutes=1)

    def test_what_is_enqueued_on_the_way_falls_due_on_the_way(self, shop: Shop) -> None:
        """A job at 10 s that enqueues one in 20 s is followed at 30 s, before that of 40 s."""
        shop.enqueue("last", delay=40)
        with shop.app.app_context():
            shop.note_later.using(delay=10).enqueue("between", 20)
        assert advance(shop.app, 60) == 3
        assert shop.seen == ["between", "last"]

    def test_retries_run(self, shop: Shop) -> None:
        """As their backoff says; TryAgain too."""
        tries: list[float] = []

        @shop.later.task(retry=Retry(max_attempts=3, backoff=10, jitter=False))
        def flaky() -> str:
            tries.append(shop.clock.monotonic())
            if current_job.attempt < 3:
                raise ConnectionError("down")
            if current_job.attempt == 3:
                raise TryAgain(delay=5)
            return "done"

        with shop.app.app_context():
            job = flaky.enqueue()
        assert advance(shop.app, 60) == 4
        assert job.refresh().result == "done"
        assert tries == [0, 10, 30, 35]

    def test_many_that_fall_due_at_once_all_run(self, shop: Shop) -> None:
        """More than one look at the store stages."""
        with shop.app.app_context():
            shop.later.enqueue_many(
                shop.note.using(delay=10).call(str(number)) for number in range(1_200)
            )
        assert advance(shop.app, 10) == 1_200

    def test_odd_steps_arrive(self, shop: Shop) -> None:
        """A clock of floats meets instants of whole microseconds."""
        job = shop.enqueue("a", delay=1)
        for _ in range(7):
            advance(shop.app, 1 / 7)
        assert job.refresh().is_finished

    def test_a_job_without_end_is_refused(self, shop: Shop) -> None:
        """It counts what ran on all of the way."""

        @shop.later.task(name="shop.tick")
        def tick() -> None:
            tick.using(delay=1).enqueue()

        with shop.app.app_context():
            tick.enqueue()
        assert advance(shop.app, 10, limit=20) == 11
        with pytest.raises(EndlessWorkError, match=r"shop\.tick"):
            advance(shop.app, 3600, limit=20)

    def test_time_moves_forward_only(self, shop: Shop) -> None:
        """As everywhere, a duration is a number or a timedelta, and not negative."""
        with pytest.raises(InvalidSettingError, match="seconds"):
            advance(shop.app, -1)


class TestWhatIsRefused:
    @pytest.mark.parametrize("ask", [run_all, lambda app: advance(app, 1)], ids=["run", "advance"])
    def test_an_app_that_works_by_itself(self, ask: object) -> None:
        """Two would run its jobs; the error names the setting."""
        shop = Shop(LATER_MANUAL=False)
        assert callable(ask)
        with pytest.raises(NotManualError, match="LATER_MANUAL"):
            ask(shop.app)

    def test_an_app_without_a_later(self) -> None:
        """The error says what to call."""
        with pytest.raises(NotInitializedError, match="run_all"):
            run_all(Flask("bare"))


def test_the_kit_needs_no_pytest() -> None:
    """Only the contracts do; they are imported when they are asked for."""
    code = "import sys, flask_later.testing; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_kit_has_no_other_names() -> None:
    """A name that was mistyped is an error as in any module."""
    import flask_later.testing

    with pytest.raises(AttributeError, match="StoreContrakt"):
        _ = flask_later.testing.StoreContrakt


def test_the_contracts_can_be_asked_for() -> None:
    """By their names in the package."""
    from flask_later.testing import EngineContract, StoreContract

    assert (EngineContract.__name__, StoreContract.__name__) == ("EngineContract", "StoreContract")


def test_a_durable_task_can_be_tested() -> None:
    """The memory store of a test is nobody's choice, so the task does not refuse it."""
    later, app = Later(), Flask("shop")
    app.testing = True
    later.init_app(app)

    @later.task(durable=True)
    def send() -> str:
        return "sent"

    with app.app_context():
        job = send.enqueue()
        run_all(app)
        assert job.refresh().result == "sent"
