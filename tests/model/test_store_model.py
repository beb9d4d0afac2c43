"""Hypothesis drives a store and the memory store side by side, and tries to part them.

It also keeps a book of its own on who holds which attempt, and holds both stores against that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests import databases
from tests.death import end_process
from tests.model.histories import (
    LIMITS,
    PLACES,
    QUEUES,
    Ending,
    endings,
    hinted_queues,
    knowns,
    limits,
    new_record,
    places,
    records,
    wanted_queues,
)

from flask_later.core.clock import VirtualClock
from flask_later.core.exchange import NOTHING, Claim, Note, Outcome, Want
from flask_later.core.job import (
    FINISHED,
    Cancel,
    Command,
    Discard,
    Hint,
    JobRecord,
    JobState,
    Progress,
    Resume,
    Retry,
    StopReason,
    UniqueUntil,
    hints_to,
)
from flask_later.core.states import has_crashed, rescued_together, settled_once
from flask_later.core.store import BEAT, LEASE, Pause, Store, WorkerRecord
from flask_later.errors import LaterError
from flask_later.stores.memory import MemoryStore
from flask_later.stores.sql import SQLStore
from flask_later.stores.sqlite import SQLiteStore, exchanges
from flask_later.stores.sqlite.workers import HUNG_AFTER
from flask_later.testing.records import START, make_record

T = TypeVar("T")


class MortalMemoryStore(MemoryStore):
    """A memory store whose workers can die before it does."""

    def bury(self, dead: set[str]) -> tuple[int, list[Hint]]:
        """Rescue the attempts of the *dead*; return how many of them count as crashes, and hints to
        those that run again.
        """
        with self._lock:
            rows = [row for worker in dead for row in self._jobs.rows.running(worker)]
            rows.sort(key=lambda row: row.seq)
            lost = [row.record for row in rows]
            pairs = [*zip(lost, rescued_together(lost, self._clock.now()), strict=True)]
            for row, (_, after) in zip(rows, pairs, strict=True):
                self._jobs.put(row, after)
            crashes = sum(has_crashed(before, after) for before, after in pairs)
            return crashes, hints_to(self.identity, (after for _, after in pairs))


class StoreMachine(RuleBasedStateMachine):
    """Two stores, one clock, and a book on who holds what."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    #: Seconds without a beat after which a worker is taken for dead.
    silent_for = HUNG_AFTER

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="later-model-"))
        self.clock = VirtualClock(START)
        self.ours = self.make_store()
        self.memory = MortalMemoryStore(self.clock, LIMITS)
        self.stores: tuple[Store, Store] = (self.ours, self.memory)
        for store in self.stores:
            store.open()
        #: The attempts that a living or dead worker holds, and nobody has taken from it.
        self.held: dict[Claim, str] = {}
        #: The last beat of each worker that a store has written.
        self.beats: dict[str, float] = {}
        #: Those whose process has ended, until somebody notices.
        self.died: set[str] = set()
        self.at: dict[int, str] = {}
        self.before: dict[str, JobRecord] = {}
        self.retried: set[str] = set()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    # What differs from store to store

    def make_store(self) -> Store:
        return SQLiteStore(self.folder / "later.sqlite3", self.clock, LIMITS)

    def end_process(self, worker: str) -> bool:
        """Let the process of *worker* end; whether that is seen before its beats are missed."""
        assert isinstance(self.ours, SQLiteStore)
        end_process(self.ours, worker)
        return True

    # Both stores, and what they have to agree on

    def both(self, act: Callable[[Store], T]) -> T | None:
        """Do the same with both stores. The answers have to be equal, the errors too."""
        ours, theirs = (self._answer(act, store) for store in self.stores)
        assert ours == theirs
        return ours[0]

    @staticmethod
    def _answer(act: Callable[[Store], T], store: Store) -> tuple[T | None, object]:
        try:
            return act(store), None
        except LaterError as error:
            return None, (type(error), error.args)

    def records_now(self) -> dict[str, JobRecord]:
        return {record.id: record for record in self.ours.find(limit=1000).records}

    # Jobs

    @initialize(target=jobs, batch=st.lists(records, min_size=2, max_size=4))
    def begin(self, batch: list[dict[str, Any]]) -> Any:
        """Most histories begin with workers and with something to do."""
        for place in PLACES:
            self.hire(place)
        return self.add(batch)

    @rule(target=jobs, batch=st.lists(records, min_size=1, max_size=3))
    def add(self, batch: list[dict[str, Any]]) -> Any:
        new = [new_record(self.clock.now(), changes) for changes in batch]
        self.both(lambda store: list(store.add(new)))
        return multiple(*(record.id for record in new))

    @rule(
        job=jobs, command=st.sampled_from([None, Cancel(), Cancel(), Retry(), Discard(), Resume()])
    )
    def command(self, job: str, command: Command | None) -> None:
        """A command, or the answer to an add was lost and it is repeated."""
        if command is None:
            again = [record for record in self.before.values() if record.id == job]
            self.both(lambda store: list(store.add(again)))
            return
        self.retried = {job} if isinstance(command, Retry) else set()
        self.both(lambda store: store.command(job, command))

    @rule(target=jobs, schedule=st.sampled_from("st"), ahead=st.integers(-1, 2))
    def tick(self, schedule: str, ahead: int) -> str:
        due = self.clock.now() + timedelta(seconds=10 * ahead)
        record = make_record(
            at=self.clock.now(), queue="a", schedule=schedule, scheduled_at=due, unique_key="k1"
        )
        self.both(lambda store: store.tick(schedule, due, record))
        return record.id

    @rule(queue=st.sampled_from(QUEUES), pause=st.sampled_from([True, False, False]))
    def pause(self, queue: str, pause: bool) -> None:
        self.both(lambda store: store.queue(queue, Pause() if pause else Resume()))

    # Workers

    def hire(self, place: int) -> None:
        name = f"worker-{len(self.beats)}"
        self.at[place] = name
        self.beat(name)
        worker = WorkerRecord(name, "localhost", 1, self.clock.now())
        self.both(lambda store: store.register(worker))

    def beat(self, worker: str) -> None:
        now = self.clock.monotonic()
        if now - self.beats.get(worker, -inf) >= BEAT / 2:
            self.beats[worker] = now

    def holding(self, worker: str) -> list[Claim]:
        return [claim for claim, holder in self.held.items() if holder == worker]

    @rule(target=claims, place=places, limit=limits, queues=wanted_queues, hinted=hinted_queues)
    def claim(
        self, place: int, limit: int, queues: tuple[str, ...] | None, hinted: str | None
    ) -> Any:
        return self.exchange(self.at[place], [], limit, queues, hinted)

    @rule(target=claims, place=places, which=st.integers(0, 3), ending=endings, limit=limits)
    def settle_and_claim(self, place: int, which: int, ending: Ending, limit: int) -> Any:
        """What a worker does most: it ends one attempt and begins another."""
        worker = self.at[place]
        some = self.holding(worker)[which : which + 1]
        settled = [ending(claim, self.clock.now()) for claim in some]
        return self.exchange(worker, settled, limit, None, None)

    @rule(some=st.lists(claims, min_size=1, max_size=3), ending=endings)
    def settle_anything(self, some: list[Claim], ending: Ending) -> None:
        """Any claims there ever were, also of the dead: many of them are stale by now."""
        self.exchange("whoever", [ending(each, self.clock.now()) for each in some], 0, None, None)

    def exchange(
        self,
        worker: str,
        settled: Sequence[Outcome],
        limit: int,
        queues: tuple[str, ...] | None,
        prefer: str | None,
    ) -> Any:
        fences = {job_id: record.fence for job_id, record in self.records_now().items()}

        def act(store: Store) -> tuple[list[Any], ...]:
            hint = None if prefer is None else Hint(store.identity, prefer, "0" * 32, 0)
            want = Want(limit, queues, hint) if limit else NOTHING
            answer = store.exchange(worker, settled, want)
            for claim in answer.done:
                assert fences.get(claim.job_id) == claim.fence, "done, but the fence had moved on"
            return tuple(list(part) for part in answer)

        # An attempt is over with its outcome, in the order in which they came.
        answer = self.both(act)
        assert answer is not None
        claimed, done, stale, _ = answer
        assert len(done) + len(stale) == len(settled)
        for claim in done:
            self.held.pop(claim, None)
        if limit:
            self.beat(worker)
        return multiple(*(self.handed_over(record, worker) for record in claimed))

    def handed_over(self, record: JobRecord, worker: str) -> Claim:
        claim = Claim(record.id, record.fence)
        in_time = record.expires_at is None or self.clock.now() < record.expires_at
        assert in_time or record.attempts > 1, "an expired job was begun"
        holders = [held for held in self.held if held.job_id == record.id]
        assert not holders, "two workers run the same job"
        self.held[claim] = worker
        return claim

    @rule(place=places, left_out=st.sets(st.integers(0, 3)), news=st.booleans())
    def note(self, place: int, left_out: set[int], news: bool) -> None:
        """Two beats, which may leave out attempts whose claim was answered to nobody."""
        worker = self.at[place]
        every = self.holding(worker)
        named = [claim for number, claim in enumerate(every) if number not in left_out]
        lines = ["line", "another"] if news else []
        notes = [Note(claim, Progress(1, 2) if news else None, lines) for claim in named]
        for _ in range(2):
            self.clock.advance(BEAT)
            self.both(lambda store: dict(store.note(worker, named, notes)))
            self.beat(worker)
        self.drop_moved(claim for claim in every if claim not in named)

    @rule(claim=claims)
    def note_of_whoever(self, claim: Claim) -> None:
        """Of an attempt that may be lost: its notes are dropped then, and it is told so."""
        note = Note(claim, Progress(2, 3), ["late"])
        worker = self.held.get(claim, "whoever")
        named = {claim, *self.holding(worker)}
        stops = self.both(lambda store: dict(store.note(worker, named, [note])))
        assert stops is not None
        assert (stops.get(claim) is StopReason.LOST) == (claim not in self.held)
        self.beat(worker)

    @rule(place=places)
    def retire(self, place: int) -> None:
        worker = self.at[place]
        self.both(lambda store: plain(store.retire(worker)))
        for claim in self.holding(worker):
            del self.held[claim]
        self.hire(place)

    @rule(place=places, found=st.booleans())
    def die(self, place: int, found: bool) -> None:
        """The process is gone, and its lock with it. Another one takes its place."""
        worker = self.at[place]
        if self.end_process(worker):
            self.died.add(worker)
        self.hire(place)
        if found:
            self.sweep({})

    def drop_moved(self, claims: Any) -> None:
        now = self.records_now()
        for claim in [*claims]:
            if now[claim.job_id].fence != claim.fence:
                del self.held[claim]

    # Time

    @rule(
        seconds=st.sampled_from([0.001, 1.0, 5.0, BEAT, 14.0]),
        times=st.integers(1, 4),
        known=knowns,
    )
    def pass_time(self, seconds: float, times: int, known: dict[str, str] | None) -> None:
        """The living beat meanwhile, as the runtime does."""
        for _ in range(times):
            self.clock.advance(seconds)
            for worker in self.at.values():
                self.beat_of(worker)
        if known is not None:
            self.sweep(known)

    def beat_of(self, worker: str) -> None:
        named = self.holding(worker)
        self.both(lambda store: dict(store.note(worker, named, [])))
        self.beat(worker)

    @rule(known=knowns.filter(bool))
    def sweep(self, known: dict[str, str]) -> None:
        oldest = self.clock.monotonic() - self.silent_for
        dead = self.died | {worker for worker, beat in self.beats.items() if beat < oldest}
        taken = [claim for claim, holder in self.held.items() if holder in dead]
        ours, theirs = (store.sweep(100, known) for store in self.stores)
        crashes, again = self.memory.bury(dead)
        hints = [*theirs.hints, *again]
        assert (ours.rescued, ours.next_due) == (crashes, theirs.next_due)
        assert plain(ours.hints) == plain(hints)
        assert list(ours.expired) == list(theirs.expired)
        for claim in taken:
            del self.held[claim]
        self.beats.update(dict.fromkeys(dead, -inf))
        self.died.clear()

    # What holds at all times

    @invariant()
    def the_stores_are_equal(self) -> None:
        pages = [store.find(limit=1000) for store in self.stores]
        assert pages[0].records == pages[1].records
        ids = [record.id for record in pages[0].records]
        self.both(lambda store: [list(store.log(job_id)) for job_id in ids])
        self.both(lambda store: list(store.stats()))
        self.both(lambda store: dict(store.schedules()))

    @invariant()
    def a_unique_key_is_unique(self) -> None:
        """Of those that hold it until they have ended."""
        keys = [
            record.unique_key
            for record in self.records_now().values()
            if record.unique_key is not None
            and record.unique_until is UniqueUntil.FINISHED
            and record.state not in FINISHED
        ]
        assert len(keys) == len({*keys})

    @invariant()
    def who_holds_an_attempt_runs_it(self) -> None:
        running = {
            Claim(record.id, record.fence): record.worker
            for record in self.records_now().values()
            if record.state is JobState.RUNNING
        }
        assert running == self.held

    @invariant()
    def fences_never_go_back_and_ends_are_final(self) -> None:
        now = self.records_now()
        for job_id, before in self.before.items():
            after = now.get(job_id)
            if after is None:
                assert before.state in FINISHED | {JobState.HELD}
                continue
            assert after.fence >= before.fence
            if before.state in FINISHED and job_id not in self.retried:
                blank = {"progress": None, "progress_at": None}
                assert after._replace(**blank) == before._replace(**blank)
        self.before = now
        self.retried = set()


def plain(hints: Sequence[Hint]) -> list[tuple[str, str, int]]:
    """Return *hints* without the store's name, in an order of their own."""
    return sorted((hint.queue, hint.job_id, hint.fence) for hint in hints)


class DatabaseMachine(StoreMachine):
    """A store in a database, which knows workers by their beats only."""

    silent_for = LEASE
    kind: str

    def make_store(self) -> Store:
        url = databases.url_of(self.kind)
        databases.empty(url)
        return SQLStore(url, self.clock, LIMITS)

    def end_process(self, worker: str) -> bool:
        """Nobody sees it."""
        return False


class PostgreSQLMachine(DatabaseMachine):
    kind = "postgresql"


class MariaDBMachine(DatabaseMachine):
    kind = "mariadb"


SETTINGS = settings(
    deadline=None,
    max_examples=300,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# Finding a failure takes seconds, making it small takes minutes.
TestStores = pytest.mark.timeout(600)(StoreMachine.TestCase)
TestStores.settings = SETTINGS


@pytest.mark.services
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", [PostgreSQLMachine, MariaDBMachine])
def test_databases_agree_as_well(machine: type[DatabaseMachine]) -> None:
    """Fewer histories, since each step takes so much longer."""
    few = settings(SETTINGS, max_examples=8, stateful_step_count=25, phases=[Phase.generate])
    run_state_machine_as_test(machine, settings=few)


def settled_unfenced(record: JobRecord | None, outcome: Outcome, now: datetime) -> JobRecord | None:
    """The rule with one check less."""
    if record is None:
        return None
    return settled_once(record, outcome._replace(claim=Claim(record.id, record.fence)), now)


def test_the_model_finds_a_missing_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that finds nothing proves nothing: here is something to find."""
    monkeypatch.setattr(exchanges, "settled_once", settled_unfenced)
    hunting = settings(
        SETTINGS,
        max_examples=200,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError, match="the fence had moved on"):
        run_state_machine_as_test(StoreMachine, settings=hunting)
