"""``flask later queues``, ``pause``, ``resume``, ``workers`` and ``tasks``."""

from __future__ import annotations

import pytest

from flask_later.runtime.serving import QueueWatch
from flask_later.testing import run_all

from .conftest import Read, Run, Shop


def test_queues_are_listed(shop: Shop, run: Run, read: Read) -> None:
    """With their jobs by state, and who serves them."""
    shop.enqueue(shop.fail, "x")
    shop.enqueue(shop.add, 1, 2)
    shop.hire("default")
    shop.clock.advance(59)
    assert "Warning" not in run("queues").output
    default, mail = read("queues")
    assert (default["name"], default["workers"], default["counts"]["queued"]) == ("default", 1, 1)
    assert (mail["name"], mail["workers"], mail["unserved"]) == ("mail", 0, False)


def test_there_are_no_queues(run: Run, read: Read) -> None:
    """That is said, though not to a program."""
    output = run("queues")
    assert (output.stdout, output.stderr) == ("", "There are no queues: no jobs are stored.\n")
    assert read("queues") == []


def test_fault_95_a_queue_that_nobody_serves(shop: Shop, run: Run, read: Read) -> None:
    """Jobs that have waited for a minute are worth a warning, with the line to type."""
    shop.enqueue(shop.fail, "x")
    shop.hire("default")
    shop.clock.advance(60)
    output = run("queues").output
    assert "Warning: jobs wait on queue 'mail' since " in output
    assert "such as this one for all queues: flask later worker" in output
    assert [queue["unserved"] for queue in read("queues")] == [True]
    run("pause", "mail")
    assert "Warning" not in run("queues").output


def test_fault_95_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each queue, and again if it comes back."""
    shop.enqueue(shop.fail, "x")
    watch = QueueWatch(shop.store)
    shop.clock.advance(59)
    watch.check(shop.clock.now())
    assert caplog.messages == []
    shop.clock.advance(1)
    watch.check(shop.clock.now())
    watch.check(shop.clock.now())
    [message] = caplog.messages
    assert message.startswith("jobs wait on queue 'mail' since ")
    worker = shop.hire("mail")
    watch.check(shop.clock.now())
    shop.store.retire(worker)
    watch.check(shop.clock.now())
    assert caplog.messages == [message, message]


def test_a_worker_of_all_queues_serves_each(
    shop: Shop, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to warn of."""
    shop.enqueue(shop.fail, "x")
    shop.hire()
    shop.clock.advance(3_600)
    shop.store.note("a" * 32, [], [])
    QueueWatch(shop.store).check(shop.clock.now())
    assert caplog.messages == []
    assert "Warning" not in run("queues").output


def test_a_queue_is_paused_and_resumed(shop: Shop, run: Run, read: Read) -> None:
    """No jobs of it are handed out meanwhile."""
    job = shop.enqueue(shop.add, 1, 2)
    assert run("pause", "default").output == "default  paused\n"
    assert "paused" in run("queues").output
    run_all(shop.app)
    assert shop.state_of(job) == "queued"
    assert read("resume", "default") == {"name": "default", "paused": False}
    run_all(shop.app)
    assert shop.state_of(job) == "succeeded"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_no_queue_has_such_a_name(run: Run, verb: str) -> None:
    """What cannot be a queue is refused."""
    assert "1 to 64 of the characters" in run(verb, "a b", code=2).output


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_queue_that_nobody_knows(shop: Shop, run: Run, verb: str) -> None:
    """It may be a slip of the hand, so it is told; its jobs may also be still to come."""
    output = run(verb, "mial")
    assert output.stderr == (
        "Warning: no task, job or setting of this app names the queue 'mial'. "
        "Those there are: default, mail\n"
    )
    shop.enqueue(shop.add.using(queue="mail"), 1, 2)
    assert run(verb, "mail").stderr == ""


def test_workers_are_listed(shop: Shop, run: Run, read: Read) -> None:
    """Those that are alive; and how to start one if there is none."""
    assert "flask later worker" in run("workers").output
    assert read("workers") == []
    worker = shop.hire("mail", "default")
    assert "mail,default" in run("workers").output
    [facts] = read("workers")
    assert (facts["id"], facts["pid"], facts["threads"]) == (worker, 4711, 4)
    assert facts["queues"] == ["mail", "default"]


def test_tasks_are_listed(run: Run, read: Read) -> None:
    """With signature and queue."""
    assert "fail(secret: " in run("tasks").output
    assert [task["name"] for task in read("tasks")] == ["add", "fail"]


@pytest.mark.parametrize("command", ["jobs", "queues", "workers", "tasks", "doctor"])
def test_a_look_starts_nothing(shop: Shop, run: Run, command: str) -> None:
    """The process that types does not serve."""
    run(command)
    assert shop.app.extensions["later.lifecycle"].current() is None
