"""``flask later jobs``, ``show``, ``retry``, ``cancel`` and ``prune``."""

from __future__ import annotations

import pytest

from flask_later.core.exchange import Want
from flask_later.testing import run_all

from .conftest import Read, Run, Shop

NO_JOB = "0" * 32


def test_jobs_are_listed_newest_first(shop: Shop, run: Run, read: Read) -> None:
    """With the facts of each, but nothing that users have entrusted to the app."""
    first, second = shop.enqueue(shop.add, 1, 2), shop.enqueue(shop.fail, "hunter2")
    output = run("jobs").output
    assert output.index(second) < output.index(first)
    answer = read("jobs")
    assert [job["id"] for job in answer["jobs"]] == [second, first]
    assert answer["after"] is None
    assert "hunter2" not in output + str(answer)


def test_jobs_come_in_pages(shop: Shop, run: Run, read: Read) -> None:
    """The first says how to get the next."""
    ids = [shop.enqueue(shop.add, n, n) for n in range(3)]
    assert "--after " in run("jobs", "--limit", "2").output
    page = read("jobs", "--limit", "2")
    rest = read("jobs", "--limit", "2", "--after", page["after"])
    assert [job["id"] for job in page["jobs"] + rest["jobs"]] == ids[::-1]


@pytest.mark.parametrize("cursor", ["zzz", "", "-1", "1.5", NO_JOB, "9" * 40])
def test_what_is_no_cursor_is_refused(shop: Shop, run: Run, cursor: str) -> None:
    """An empty page would look as if all had been seen."""
    shop.enqueue(shop.add, 1, 2)
    said = run("jobs", "--after", cursor, code=2).output
    assert f"{cursor!r} is not what a page ends with" in said


def test_a_cursor_behind_which_nothing_is_left(shop: Shop, run: Run, read: Read) -> None:
    """What it named may have been deleted since: no error."""
    shop.enqueue(shop.add, 1, 2)
    assert "No more such jobs." in run("jobs", "--after", "1").output
    assert read("jobs", "--after", "1") == {"jobs": [], "after": None}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--state", "failed"), ["fail"]),
        (("--state", "failed", "--state", "queued"), ["add", "fail"]),
        (("--task", "fail"), ["fail"]),
        (("--queue", "mail"), ["fail"]),
        (("--queue", "mail", "--task", "add"), []),
    ],
)
def test_jobs_can_be_chosen(
    shop: Shop, read: Read, options: tuple[str, ...], found: list[str]
) -> None:
    """By state, task and queue."""
    shop.enqueue(shop.fail, "x")
    run_all(shop.app)
    shop.enqueue(shop.add, 1, 2)
    assert [job["task"] for job in read("jobs", *options)["jobs"]] == found


def test_a_job_is_shown(shop: Shop, run: Run, read: Read) -> None:
    """With log and error; arguments and result only if they are asked for."""
    good, bad = shop.enqueue(shop.add, 1, 2), shop.enqueue(shop.fail, "hunter2")
    run_all(shop.app)
    assert "ValueError: oops" in run("show", bad).output
    assert "hunter2" not in run("show", bad).output
    assert "hunter2" in run("show", bad, "--payload").output
    facts = read("show", good)
    assert facts["state"] == "succeeded"
    assert [line["message"] for line in facts["log"]] == ["adding"]
    assert "result" not in facts
    assert read("show", good, "--payload")["result"] == 3


@pytest.mark.parametrize("job_id", [NO_JOB, "abc", "🐘"])
def test_a_job_that_is_not_there(run: Run, job_id: str) -> None:
    """One line, and no traceback."""
    output = run("show", job_id, code=1).output
    assert f"Error: There is no job {job_id!r}" in output
    assert "Traceback" not in output


def test_a_job_is_retried(shop: Shop, run: Run, read: Read) -> None:
    """By its id; it is queued as if it had never run."""
    job = shop.enqueue(shop.fail, "x")
    run_all(shop.app)
    assert run("retry", job).output == f"{job}  queued\n"
    run_all(shop.app)
    assert read("retry", job) == [{"id": job, "state": "queued"}]


def test_a_job_is_cancelled(shop: Shop, run: Run) -> None:
    """By its id."""
    job = shop.enqueue(shop.add, 1, 2)
    assert run("cancel", job).output == f"{job}  cancelled\n"
    assert shop.state_of(job) == "cancelled"


def test_a_job_that_runs_is_told_to_stop(shop: Shop, run: Run, read: Read) -> None:
    """It is still running, and that would look as if nothing had happened."""
    job = shop.enqueue(shop.add, 1, 2)
    assert shop.store.exchange(shop.hire(), [], Want(1)).claimed
    assert run("cancel", job).output == f"{job}  running, told to stop\n"
    assert read("cancel", job) == [{"id": job, "state": "running"}]


def test_what_cannot_be_changed_does_not_hold_up_the_others(
    shop: Shop, run: Run, read: Read
) -> None:
    """Each gets an answer, and the exit code tells."""
    job, other = shop.enqueue(shop.add, 1, 2), shop.enqueue(shop.add, 3, 4)
    output = run("cancel", NO_JOB, job, code=1).output
    assert f"There is no job {NO_JOB!r}" in output
    assert shop.state_of(job) == "cancelled"
    assert read("cancel", other) == [{"id": other, "state": "cancelled"}]
    assert f"Cannot cancel job {job}: it is cancelled." in run("cancel", job, code=1).output


def test_all_that_match_are_changed(shop: Shop, run: Run, read: Read) -> None:
    """After a question, unless it was answered before."""
    jobs = [shop.enqueue(shop.fail, "x") for _ in range(3)]
    other = shop.enqueue(shop.add, 1, 2)
    run_all(shop.app)
    assert "Retry 3 jobs?" in run("retry", "--state", "failed", code=1, typed="n\n").output
    assert {shop.state_of(job) for job in jobs} == {"failed"}
    assert "retry: 3 jobs" in run("retry", "--state", "failed", typed="y\n").output
    assert {shop.state_of(job) for job in jobs} == {"queued"}
    assert read("cancel", "--task", "fail", "--yes") == {"changed": 3}
    assert read("retry", "--queue", "default", "--yes") == {"changed": 0}
    assert shop.state_of(other) == "succeeded"


@pytest.mark.parametrize("options", [(), (NO_JOB, "--all"), (NO_JOB, "--task", "add")])
@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_which_jobs_has_to_be_said(run: Run, verb: str, options: tuple[str, ...]) -> None:
    """One way or the other: nothing is meant by nothing."""
    output = run(verb, *options, code=2).output
    assert "Name jobs by their ids, or choose" in output
    assert "Not both." in output


def test_finished_jobs_are_pruned(shop: Shop, run: Run, read: Read) -> None:
    """After a question; by age and state; what is not finished stays."""
    old = shop.enqueue(shop.add, 1, 2)
    run_all(shop.app)
    shop.clock.advance(3_600)
    failed, young = shop.enqueue(shop.fail, "x"), shop.enqueue(shop.add, 1, 2)
    run_all(shop.app)
    waiting = shop.enqueue(shop.add, 1, 2)
    assert "Delete the records" in run("prune", code=1, typed="n\n").output
    assert read("prune", "--yes", "--older-than", "30m") == {"deleted": 1}
    assert not shop.store.get([old])
    assert read("prune", "--yes", "--state", "failed") == {"deleted": 1}
    assert not shop.store.get([failed])
    assert "deleted: 1 jobs" in run("prune", typed="y\n").output
    assert not shop.store.get([young])
    assert shop.state_of(waiting) == "queued"


@pytest.mark.parametrize("command", [("prune",), ("cancel", "--all"), ("retry", "--all")])
def test_a_question_that_nobody_answers(shop: Shop, run: Run, command: tuple[str, ...]) -> None:
    """In cron, say: it tells what to type, and nothing is changed."""
    done, failed = shop.enqueue(shop.add, 1, 2), shop.enqueue(shop.fail, "x")
    run_all(shop.app)
    waiting = shop.enqueue(shop.add, 1, 2)
    assert "Without a terminal, say so before: --yes" in run(*command, code=2).output
    assert [shop.state_of(each) for each in (done, failed, waiting)] == [
        *("succeeded", "failed", "queued")
    ]


@pytest.mark.parametrize("age", ["-1d", "1y", "", "d", "1.5h"])
def test_an_age_has_a_unit(run: Run, age: str) -> None:
    """What is no age is refused."""
    assert "such as 7d" in run("prune", "--older-than", age, "--yes", code=2).output
