"""Commands: what a user may ask of a job in each of its states."""

from __future__ import annotations

import pytest

from flask_later.core.exchange import Failed, Note, Parked, Succeeded
from flask_later.core.job import (
    FINISHED,
    Annotate,
    Cancel,
    Command,
    Discard,
    JobState,
    Resume,
    Retry,
    StopReason,
)
from flask_later.core.store import Limits, Store
from flask_later.errors import InvalidTransitionError, JobNotFoundError, UniqueKeyTakenError
from flask_later.testing.records import START, make_record

from .base import (
    OOPS,
    ContractBase,
    PatientClock,
    attempt,
    claim_ids,
    is_gone,
    now_of,
    put,
    settle,
    start,
)

COMMANDS: list[Command] = [Cancel(), Retry(), Discard(), Resume(), Annotate("{}")]

ALLOWED: dict[type[Command], frozenset[JobState]] = {
    Cancel: frozenset(JobState) - FINISHED,
    Retry: frozenset({JobState.FAILED, JobState.CANCELLED}),
    Discard: FINISHED | {JobState.HELD},
    Resume: frozenset({JobState.HELD, JobState.PARKED}),
    Annotate: frozenset(JobState),
}
REFUSED = [
    pytest.param(command, state, id=f"{type(command).__name__}-{state}")
    for command in COMMANDS
    for state in JobState
    if state not in ALLOWED[type(command)]
]


class CommandingContract(ContractBase):
    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
    def test_a_job_that_is_not_there_is_said_so(self, store: Store, command: Command) -> None:
        """The error names the id."""
        with pytest.raises(JobNotFoundError) as caught:
            store.command("f" * 32, command)
        assert caught.value.job_id == "f" * 32

    @pytest.mark.parametrize(("command", "state"), REFUSED)
    def test_a_command_that_does_not_fit_is_refused(
        self, store: Store, command: Command, state: JobState
    ) -> None:
        """The error names the state, and nothing changes."""
        record = make_record(state=state)
        store.add([record])
        with pytest.raises(InvalidTransitionError) as caught:
            store.command(record.id, command)
        assert (caught.value.job_id, caught.value.state) == (record.id, state.value)
        assert now_of(store, record) == record

    @pytest.mark.parametrize("state", JobState)
    def test_what_crossed_over_can_be_replaced_at_any_time(
        self, store: Store, state: JobState
    ) -> None:
        """Whatever the job is at, and nothing else of it changes."""
        record = make_record(state=state)
        store.add([record])
        answer = store.command(record.id, Annotate('{"locale":"de"}'))
        assert answer == now_of(store, record) == record._replace(context='{"locale":"de"}')

    def test_what_is_replaced_while_a_job_runs_stays(self, store: Store, worker: str) -> None:
        """Whoever runs it does not write back what it was handed."""
        running = start(store, worker)
        store.command(running.id, Annotate('{"locale":"de"}'))
        settle(store, worker, Succeeded(attempt(running), "1"))
        ended = now_of(store, running)
        assert (ended.context, ended.result) == ('{"locale":"de"}', "1")

    @pytest.mark.parametrize(
        "state", [JobState.HELD, JobState.SCHEDULED, JobState.QUEUED, JobState.PARKED]
    )
    def test_a_job_that_does_not_run_is_cancelled_at_once(
        self, store: Store, clock: PatientClock, state: JobState
    ) -> None:
        """The answer is what the store has then."""
        record = make_record(state=state)
        store.add([record])
        clock.advance(1)
        answer = store.command(record.id, Cancel())
        assert answer == now_of(store, record)
        assert answer == record._replace(state=JobState.CANCELLED, finished_at=clock.now())

    def test_a_cancelled_job_is_not_handed_out(
        self, store: Store, other: Store, clock: PatientClock, worker: str
    ) -> None:
        """Neither a queued one nor one whose time comes later."""
        queued, delayed = put(store, make_record(), make_record(delay=5))
        other.command(queued.id, Cancel())
        other.command(delayed.id, Cancel())
        clock.advance(10)
        assert list(store.sweep(100, {}).hints) == []
        assert claim_ids(store, worker, 5) == []

    def test_a_running_job_is_asked_to_stop(self, store: Store, other: Store, worker: str) -> None:
        """It runs on until its attempt is settled; asking again changes nothing."""
        running = start(store, worker)
        asked = other.command(running.id, Cancel())
        assert asked == running._replace(stop=StopReason.CANCELLED)
        assert other.command(running.id, Cancel()) == asked
        assert now_of(store, running) == asked

    def test_a_failed_job_is_retried_with_new_budgets(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """It is queued as of now; the fence goes on from where it was."""
        failed = make_record(
            state=JobState.FAILED,
            fence=7,
            attempts=3,
            failures=3,
            crashes=1,
            releases=2,
            error=OOPS,
            finished_at=START,
        )
        store.add([failed])
        clock.advance(60)
        answer = store.command(failed.id, Retry())
        assert answer == now_of(store, failed)
        assert answer == make_record(id=failed.id, run_at=clock.now(), fence=7)
        assert claim_ids(store, worker) == [failed.id]

    def test_a_cancelled_job_is_retried(self, store: Store, worker: str) -> None:
        """Also one that was cancelled while it ran: the request to stop is over."""
        (record,) = put(store, make_record())
        store.command(record.id, Cancel())
        answer = store.command(record.id, Retry())
        assert (answer.state, answer.stop, answer.finished_at) == (JobState.QUEUED, None, None)

    def test_a_retry_needs_its_unique_key(self, store: Store, worker: str) -> None:
        """Another job holds it now; the error names that job, and nothing changes."""
        running = start(store, worker, make_record(unique_key="k"))
        settle(store, worker, Failed(attempt(running), OOPS))
        (holder,) = put(store, make_record(unique_key="k"))
        before = now_of(store, running)
        with pytest.raises(UniqueKeyTakenError) as caught:
            store.command(running.id, Retry())
        assert (caught.value.unique_key, caught.value.holder) == ("k", holder.id)
        assert now_of(store, running) == before

    def test_a_retry_takes_its_unique_key(self, store: Store, worker: str) -> None:
        """From then on no other job gets it."""
        running = start(store, worker, make_record(unique_key="k"))
        settle(store, worker, Failed(attempt(running), OOPS))
        store.command(running.id, Retry())
        assert not store.add([make_record(unique_key="k")])[0].created

    def test_a_discarded_job_is_gone(self, store: Store, other: Store, worker: str) -> None:
        """With its log; its id and its key are free."""
        running = start(store, worker, make_record(unique_key="k"))
        store.note(worker, [attempt(running)], [Note(attempt(running), lines=["line"])])
        settle(store, worker, Succeeded(attempt(running), "1"))
        before = now_of(store, running)
        assert other.command(running.id, Discard()) == before
        assert is_gone(store, running)
        assert list(store.log(running.id)) == []
        assert list(store.find().records) == []

    def test_a_held_job_is_discarded(self, store: Store, limits: Limits) -> None:
        """Its caller's transaction was rolled back: it frees its place and its key."""
        keys = map(str, range(limits.max_pending))
        held = put(store, *(make_record(state=JobState.HELD, unique_key=key) for key in keys))
        store.command(held[0].id, Discard())
        assert store.add([make_record(unique_key="0")])[0].created

    def test_a_held_job_is_resumed(self, store: Store, worker: str) -> None:
        """It waits for a worker, as the one stored when it was stored."""
        held, queued = put(store, make_record(state=JobState.HELD), make_record())
        answer = store.command(held.id, Resume())
        assert answer == held._replace(state=JobState.QUEUED)
        assert claim_ids(store, worker, 2) == [held.id, queued.id]

    def test_a_held_job_with_a_delay_is_scheduled(
        self, store: Store, clock: PatientClock, worker: str
    ) -> None:
        """Its delay is counted from when it was made."""
        (held,) = put(store, make_record(delay=10, state=JobState.HELD))
        assert store.command(held.id, Resume()).state is JobState.SCHEDULED
        clock.advance(10)
        store.sweep(100, {})
        assert claim_ids(store, worker) == [held.id]

    def test_a_parked_job_is_resumed(self, store: Store, worker: str) -> None:
        """Whether or not anybody knows its task: it may be parked again."""
        running = start(store, worker)
        settle(store, worker, Parked(attempt(running), OOPS, "digest"))
        answer = store.command(running.id, Resume())
        assert (answer.state, answer.error, answer.parked_for) == (JobState.QUEUED, None, None)
        assert claim_ids(store, worker) == [running.id]
