"""Reading: what is there, in pages; and that it is still there after the process."""

from __future__ import annotations

from datetime import datetime

import pytest

from flask_later.core.exchange import Cancelled, Note, Succeeded
from flask_later.core.job import (
    Cancel,
    Discard,
    JobRecord,
    JobState,
    Progress,
    Resume,
    StopReason,
    glance_at,
)
from flask_later.core.store import (
    MAX_PAGE,
    Added,
    JobFilter,
    Limits,
    Page,
    Pause,
    QueueStats,
    Store,
)
from flask_later.testing.records import START, make_full_record, make_record

from .base import ContractBase, PatientClock, attempt, claim, now_of, put, settle, start


def ids(page: Page) -> list[str]:
    return [record.id for record in page.records]


def counted(stats: QueueStats) -> tuple[str, bool, dict[JobState, int], datetime | None]:
    counts = {state: number for state, number in stats.counts.items() if number}
    return stats.name, stats.paused, counts, stats.oldest_run_at


def fill(store: Store, limits: Limits, number: int) -> list[JobRecord]:
    """Add *number* jobs that wait for nothing, in batches that fit."""
    jobs = [make_record(state=JobState.PARKED) for _ in range(number)]
    for first in range(0, number, limits.max_pending):
        store.add(jobs[first : first + limits.max_pending])
    return jobs


class ReadingContract(ContractBase):
    def test_what_does_not_exist_is_left_out(self, store: Store) -> None:
        """Asking for nothing, or for something twice, is no error."""
        (record,) = put(store, make_record())
        assert dict(store.get([record.id, "f" * 32, record.id])) == {record.id: record}
        assert dict(store.get([])) == {}

    def test_a_glance_shows_how_a_job_is(self, store: Store, worker: str) -> None:
        """As its record says it, through all of its life."""
        assert store.glance("f" * 32) is None
        running = start(store, worker)
        assert store.glance(running.id) == glance_at(running)
        store.note(worker, [attempt(running)], [Note(attempt(running), Progress(1, 2, "half"))])
        store.command(running.id, Cancel())
        asked = store.glance(running.id)
        assert asked == glance_at(now_of(store, running))
        assert asked is not None
        assert (asked.stop, asked.progress) == (StopReason.CANCELLED, Progress(1, 2, "half"))
        settle(store, worker, Cancelled(attempt(running)))
        assert store.glance(running.id) == glance_at(now_of(store, running))
        full = make_full_record()
        store.add([full])
        assert store.glance(full.id) == glance_at(full)

    def test_a_file_goes_with_its_job(self, store: Store, worker: str) -> None:
        """It is there from before the job on, and for every look."""
        record = make_record()
        store.files.put(record.id, "body", [b"con", b"tent"])
        settle(store, worker, Succeeded(attempt(start(store, worker, record)), "1"))
        for _ in range(2):
            with store.files.open(record.id, "body") as file:
                assert file.read() == b"content"
        store.command(record.id, Discard())
        with pytest.raises(OSError, match="body"):
            store.files.open(record.id, "body")

    def test_large_texts_come_back_by_every_way(
        self, store: Store, other: Store, worker: str
    ) -> None:
        """However a store keeps them, also in the answer to a discard."""
        arguments, result = (f'"{letter * 200_000}"' for letter in "ar")
        record = make_record(payload=arguments, unique_key="k")
        assert list(store.add([record])) == [Added(record, True)]
        assert list(store.add([make_record(unique_key="k")])) == [Added(record, False)]
        (running,) = claim(store, worker)
        assert running.payload == arguments
        settle(store, worker, Succeeded(attempt(running), result))
        finished = now_of(other, running)
        assert (finished.payload, finished.result) == (arguments, result)
        assert list(other.find().records) == [finished]
        assert other.command(record.id, Discard()) == finished

    def test_many_jobs_are_read_at_once(self, store: Store, limits: Limits) -> None:
        """As many as a page may have."""
        jobs = fill(store, limits, MAX_PAGE)
        assert set(store.get(record.id for record in jobs)) == {record.id for record in jobs}

    def test_the_newest_come_first(self, store: Store, worker: str) -> None:
        """In the order in which they were stored, whatever has happened to them since."""
        jobs = put(store, *(make_record(priority=each) for each in (5, -5, 0)))
        claim(store, worker)
        page = store.find()
        assert ids(page) == [record.id for record in reversed(jobs)]
        assert page.after is None

    def test_nothing_found_is_an_empty_page(self, store: Store) -> None:
        """Also in an empty store."""
        page = store.find()
        assert (list(page.records), page.after) == ([], None)

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (JobFilter(), {"a", "b", "c"}),
            (JobFilter(task="t1"), {"a", "b"}),
            (JobFilter(queue="q1"), {"a", "c"}),
            (JobFilter(states=frozenset({JobState.PARKED})), {"c"}),
            (JobFilter(states=frozenset({JobState.PARKED, JobState.QUEUED})), {"a", "b", "c"}),
            (JobFilter(states=frozenset()), set[str]()),
            (JobFilter(frozenset({JobState.QUEUED}), "t1", "q2"), {"b"}),
            (JobFilter(task="t"), set[str]()),
        ],
    )
    def test_a_filter_finds_what_matches_in_all(
        self, store: Store, wanted: JobFilter, found: set[str]
    ) -> None:
        """None means any, and names match as a whole."""
        put(
            store,
            make_record(id="a", task="t1", queue="q1"),
            make_record(id="b", task="t1", queue="q2"),
            make_record(id="c", task="t2", queue="q1", state=JobState.PARKED),
        )
        assert set(ids(store.find(wanted))) == found

    def test_pages_join_without_a_gap(self, store: Store) -> None:
        """Also where new jobs come in between: they are on no later page."""
        jobs = put(store, *(make_record(task="t") for _ in range(5)))
        wanted = JobFilter(task="t")
        first = store.find(wanted, limit=2)
        put(store, make_record(task="t"), make_record(task="other"))
        second = store.find(wanted, first.after, limit=2)
        third = store.find(wanted, second.after, limit=2)
        assert ids(first) + ids(second) + ids(third) == [job.id for job in reversed(jobs)]
        assert third.after is None

    def test_the_last_page_has_no_cursor(self, store: Store) -> None:
        """Also where it is full."""
        put(store, make_record(), make_record())
        assert store.find(limit=2).after is None
        assert store.find(limit=1).after is not None

    @pytest.mark.parametrize(
        "cursor", ["", "nonsense", "-1", "0", "1.5", "9" * 40 + "x", "\0", "\ud800", "'", "²"]
    )
    def test_a_cursor_that_is_not_ours_gives_an_empty_page(self, store: Store, cursor: str) -> None:
        """It came from a client."""
        put(store, make_record())
        page = store.find(after=cursor)
        assert (list(page.records), page.after) == ([], None)

    def test_a_cursor_beyond_all_numbers_is_no_error(self, store: Store) -> None:
        """Whatever it gives."""
        put(store, make_record())
        assert len(store.find(after="9" * 5_000).records) <= 1

    def test_a_page_has_its_bounds(self, store: Store, limits: Limits) -> None:
        """However many rows were asked for."""
        fill(store, limits, MAX_PAGE + 1)
        page = store.find(limit=10**30)
        assert len(page.records) == MAX_PAGE
        assert len(store.find(after=page.after, limit=10**30).records) == 1

    def test_a_log_is_read_in_pages(self, store: Store, worker: str) -> None:
        """Those after the last one read, oldest first."""
        running = start(store, worker)
        lines = [str(number) for number in range(5)]
        store.note(worker, [attempt(running)], [Note(attempt(running), lines=lines)])
        first = store.log(running.id, limit=2)
        second = store.log(running.id, first[-1].id, limit=2)
        third = store.log(running.id, second[-1].id)
        assert [line.message for line in [*first, *second, *third]] == lines
        assert list(store.log(running.id, third[-1].id)) == []

    def test_a_job_without_lines_has_an_empty_log(self, store: Store) -> None:
        """And so has one that does not exist."""
        (record,) = put(store, make_record())
        assert list(store.log(record.id)) == []
        assert list(store.log("f" * 32)) == []

    def test_every_queue_is_counted(self, store: Store, clock: PatientClock, worker: str) -> None:
        """By name, with the jobs of each state, and since when its oldest has waited."""
        put(store, make_record(queue="b"), make_record(queue="a"), make_record(queue="a", delay=9))
        (running,) = claim(store, worker, 1, ("b",))
        settle(store, worker, Succeeded(attempt(running), "1"))
        clock.advance(1)
        put(store, make_record(queue="a", at=clock.now()))
        assert [counted(stats) for stats in store.stats()] == [
            ("a", False, {JobState.QUEUED: 2, JobState.SCHEDULED: 1}, START),
            ("b", False, {JobState.SUCCEEDED: 1}, None),
        ]

    def test_a_paused_queue_is_counted_also_when_empty(self, store: Store, other: Store) -> None:
        """Somebody has to find it to resume it."""
        other.queue("empty", Pause())
        assert [counted(stats) for stats in store.stats()] == [("empty", True, {}, None)]
        store.queue("empty", Resume())
        assert list(other.stats()) == []

    def test_closing_twice_does_no_harm(self, store: Store) -> None:
        """And a store that was closed may be opened again."""
        store.close()
        store.close()
        store.open()
        put(store, make_record())

    def test_opening_twice_does_no_harm(self, store: Store) -> None:
        """The jobs are the same, and so is the name."""
        (record,) = put(store, make_record())
        identity = store.identity
        store.open()
        assert (store.identity, now_of(store, record)) == (identity, record)

    def test_a_durable_store_keeps_everything(self, store: Store, worker: str) -> None:
        """Jobs, logs, pauses, schedules and its own name outlive the process."""
        running = start(store, worker)
        store.note(worker, [attempt(running)], [Note(attempt(running), lines=["line"])])
        store.queue("paused", Pause())
        store.tick("digest", START, make_record())
        before = contents(store)
        store.close()
        store.open()
        assert not store.durable or contents(store) == before

    def test_all_handles_have_one_name(self, store: Store, other: Store) -> None:
        """A hint of one is a hint of the other."""
        assert store.identity == other.identity


def contents(store: Store) -> list[object]:
    """Return all that can be read."""
    records = store.find().records
    logs = [list(store.log(record.id)) for record in records]
    stats = [counted(each) for each in store.stats()]
    return [store.identity, list(records), logs, stats, dict(store.schedules())]
