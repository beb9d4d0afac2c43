"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests import databases
from tests.brokers import RabbitMQ, Redis, running_rabbitmq, running_redis

NO_SKIPS = "NO_SKIPPED_TESTS"


def forbid_skip(report: Any) -> None:
    """Turn a skip into a failure that says what it was, where skips are not allowed (CI)."""
    if not report.skipped or hasattr(report, "wasxfail") or os.environ.get(NO_SKIPS) != "1":
        return
    reason = report.longrepr
    if isinstance(reason, tuple):
        path, line, message = reason
        reason = f"{path}:{line}: {message}"
    report.outcome = "failed"
    report.longrepr = f"{reason}\nNothing may be skipped here: {NO_SKIPS}=1."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    forbid_skip(report)
    return report


@pytest.fixture(scope="session", autouse=True)
def shared_servers() -> Iterator[None]:
    """Stop the databases that tests have shared, when all are done."""
    yield
    databases.stop_all()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as broker:
        yield broker


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker
