"""Celery and RQ by configuration: what is refused, and what a broker that is away costs."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from traceback import format_exception
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from redis import Redis

from flask_later import Later
from flask_later.assembly import PREPARED_KEY, Prepared
from flask_later.core.clock import SystemClock
from flask_later.core.engine import Engine, ServeOptions
from flask_later.core.job import Hint
from flask_later.engines.brokered import BrokeredEngine
from flask_later.engines.celery import CeleryEngine
from flask_later.engines.celery_threads import TaskPool
from flask_later.engines.native import NativeEngine
from flask_later.engines.rq import RQEngine
from flask_later.errors import InvalidSettingError, UnsupportedError
from flask_later.stores.memory import MemoryStore
from flask_later.tasks.state import AppState

ENGINES = {"celery": CeleryEngine, "rq": RQEngine}
#: What nobody may ever read.
SECRET = "correct-horse"


class FarMemory(MemoryStore):
    """Has the reach of a database, where none is used."""

    reach = "network"


def state_of(store: bool = True, **config: Any) -> AppState:
    app = Flask("shop")
    app.config.from_mapping({f"LATER_{key}": value for key, value in config.items()})
    if store:
        clock = SystemClock()
        app.extensions[PREPARED_KEY] = Prepared(clock, FarMemory(clock))
    Later(app)
    state: AppState = app.extensions["later"]
    return state


def engine_of(**config: Any) -> Engine:
    return state_of(**config).engine


def place_of(**config: Any) -> str:
    engine = engine_of(**config)
    assert isinstance(engine, BrokeredEngine)
    return engine.place


@pytest.fixture
def silence() -> Iterator[int]:
    """A port on which somebody takes connections, and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# What is refused


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_is_made_from_the_settings(engine: str) -> None:
    """LATER_ENGINE names it, LATER_BROKER says where its broker is."""
    assert type(engine_of(ENGINE=engine, BROKER="redis://localhost/1")) is ENGINES[engine]


def test_an_unknown_engine_is_refused() -> None:
    """With the nearest name."""
    with pytest.raises(InvalidSettingError, match=r"LATER_ENGINE is 'cellery'.*Closest: 'celery'"):
        engine_of(ENGINE="cellery")


@pytest.mark.parametrize("manual", [False, True])
def test_a_broker_that_nobody_asks_is_refused(manual: bool) -> None:
    """Whoever sets it expects that the work goes there; the native engine runs it here."""
    with pytest.raises(UnsupportedError, match=r"native engine has no broker.*LATER_ENGINE = "):
        engine_of(ENGINE="native", BROKER="redis://localhost", MANUAL=manual)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("broker", "message"),
    [
        (None, r"LATER_BROKER is not set, and LATER_ENGINE is '{}'"),
        (f"reddis://:{SECRET}@localhost/0", r"LATER_BROKER is of the kind 'reddis'.*Closest: '"),
        (object(), r"LATER_BROKER is an object"),
    ],
)
def test_a_broker_that_cannot_be_is_refused(engine: str, broker: object, message: str) -> None:
    """And its password is not shown."""
    with pytest.raises(InvalidSettingError, match=message.format(engine)) as caught:
        engine_of(ENGINE=engine, BROKER=broker)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "broker",
    [
        f"u:{SECRET}@localhost/0",
        f"redis:/u:{SECRET}@localhost/0",
        f"redis://u:{SECRET}@localhost:{SECRET}/0",
        f"redis://u:{SECRET}/{SECRET}@localhost/0",
        f"redis://u:12/{SECRET}@localhost/0",
        f"redis://u@localhost/0;redis://u:12/{SECRET}@localhost/0",
        f"redis://[u:{SECRET}@localhost/0",
    ],
)
def test_what_is_no_address_is_not_shown(engine: str, broker: str) -> None:
    """Nor in the traceback: somebody's password has a / in it, or the scheme is missing."""
    with pytest.raises(InvalidSettingError, match=r"LATER_BROKER is no address.*%2F") as caught:
        engine_of(ENGINE=engine, BROKER=broker)
    assert SECRET not in "".join(format_exception(caught.value))


@pytest.mark.parametrize("broker", ["memory://", "filesystem://", f"sqs://k:{SECRET}@"])
def test_a_broker_that_was_not_tried_is_refused(broker: str) -> None:
    """Most of what Celery knows besides is for one process. (An app's own Celery may have it.)"""
    with pytest.raises(InvalidSettingError, match=r"of the kind .*redis://\.\.\. or amqp://"):
        engine_of(ENGINE="celery", BROKER=broker)


def test_an_option_of_a_broker_that_nobody_knows_is_refused() -> None:
    """By its name, and without the address."""
    with pytest.raises(InvalidSettingError, match=r"LATER_BROKER is .*'foo'") as caught:
        engine_of(ENGINE="celery", BROKER=f"amqp://u:{SECRET}@localhost/v?foo={SECRET}")
    assert SECRET not in "".join(format_exception(caught.value))


def test_settings_show_no_password() -> None:
    """They may end up in a log."""
    store, broker = f"postgresql://u:{SECRET}@h/d", f"redis://u:{SECRET}@h/0"
    assert SECRET not in repr(state_of(ENGINE="rq", STORE=store, BROKER=broker).settings)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_place_of_a_broker_has_no_password(engine: str) -> None:
    """It is what messages say."""
    assert SECRET not in place_of(ENGINE=engine, BROKER=f"redis://u:{SECRET}@localhost:1/2")
    assert place_of(ENGINE=engine, BROKER="redis://localhost:1/2") == "redis://localhost:1/2"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", ["memory://", "sqlite:///later.sqlite3"])
def test_a_store_that_workers_cannot_see_is_refused(engine: str, store: str, tmp_path: Any) -> None:
    """It names both keys."""
    state = state_of(False, ENGINE=engine, BROKER="redis://localhost", STORE=store)
    state.app.instance_path = str(tmp_path)
    with pytest.raises(UnsupportedError, match=r"LATER_ENGINE = .*LATER_STORE"):
        _ = state.engine


@pytest.mark.parametrize("content", [["json", "pickle"], ["application/x-python-serialize"]])
def test_celery_with_pickle_is_refused(content: list[str]) -> None:
    """Whoever writes to the broker could run any code."""
    with pytest.raises(UnsupportedError, match=r"accept_content = \['json'\]"):
        engine_of(ENGINE="celery", BROKER=Celery(config_source={"accept_content": content}))


@pytest.mark.parametrize("engine", ENGINES)
def test_one_queue_of_many_needs_their_names(engine: str) -> None:
    """Without LATER_QUEUES the broker has one queue for all."""
    made = engine_of(ENGINE=engine, BROKER="redis://localhost")
    with pytest.raises(UnsupportedError, match="LATER_QUEUES"):
        made.check(ServeOptions(1, ("mail",)))
    with pytest.raises(UnsupportedError, match="LATER_QUEUES"):
        made.serve(ServeOptions(1, ("mail",)))


@pytest.mark.parametrize(("engine", "library"), [("celery", "celery"), ("rq", "rq")])
def test_a_missing_library_is_named(engine: str, library: str) -> None:
    """With the line to type."""
    code = f"""
import sys
sys.modules[{library!r}] = None
from flask import Flask
from flask_later import Later
from flask_later.errors import NotInstalledError
app = Flask("shop")
app.config.update(LATER_ENGINE={engine!r}, LATER_BROKER="redis://localhost")
Later(app)
try:
    app.extensions["later"].engine
except NotInstalledError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f'pip install "Flask-Later[{engine}]"' in ran.stdout
    assert repr(library) in ran.stdout


# What an app brings along


def test_the_app_s_own_celery_is_used() -> None:
    """Where Flask's documentation has it, or as LATER_BROKER."""
    own = Celery("shop", broker="redis://localhost/3", set_as_current=False)
    state = state_of(ENGINE="celery")
    state.app.extensions["celery"] = own
    assert state.engine.celery is own  # type: ignore[attr-defined]
    assert engine_of(ENGINE="celery", BROKER=own).celery is own  # type: ignore[attr-defined]


def test_a_worker_of_the_app_s_own_celery_takes_hints_as_well() -> None:
    """It takes from all queues that the Celery app knows: its own, and ours."""
    own = Celery("shop", broker="redis://localhost/3", set_as_current=False)
    engine_of(ENGINE="celery", BROKER=own, QUEUES=["mail", "slow"])
    assert {*own.amqp.queues.consume_from} == {"celery", "mail", "slow"}


def test_the_app_s_own_redis_is_used() -> None:
    """As LATER_BROKER."""
    own = Redis(host="localhost", db=3)
    engine = engine_of(ENGINE="rq", BROKER=own)
    assert isinstance(engine, RQEngine)
    assert engine.connect() is own
    assert engine.place == "redis://localhost:6379/3"


@pytest.mark.parametrize("engine", ENGINES)
def test_work_by_hand_needs_no_broker(engine: str) -> None:
    """Under the test kit the same configuration does without it."""
    made = engine_of(ENGINE=engine, BROKER="redis://localhost", MANUAL=True)
    assert isinstance(made, NativeEngine)


@pytest.mark.parametrize("engine", ENGINES)
def test_processes_that_serve_run_no_jobs(engine: str) -> None:
    """Unless LATER_EMBEDDED says so: the library's workers do."""
    assert state_of(ENGINE=engine, BROKER="redis://localhost").settings.embedded is False
    assert state_of().settings.embedded is True
    embedded = state_of(ENGINE=engine, BROKER="redis://localhost", EMBEDDED=True)
    assert embedded.settings.embedded is True


# A broker that is away


@pytest.mark.parametrize("engine", ENGINES)
def test_a_closed_port_costs_nothing(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log without the password, and the next hint is dropped at once."""
    state = state_of(ENGINE=engine, BROKER=f"redis://:{SECRET}@127.0.0.1:{closed_port()}/0")
    began = time.monotonic()
    state.engine.deliver([Hint(state.store.identity, "default", "job", 0)])
    assert time.monotonic() - began < 1.0
    assert len([record for record in caplog.records if "cannot be used" in record.message]) == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_broker_that_never_answers_costs_two_seconds_once(
    engine: str, scheme: str, silence: int
) -> None:
    """And nothing after that."""
    if (engine, scheme) == ("rq", "amqp"):
        return
    state = state_of(ENGINE=engine, BROKER=f"{scheme}://u:{SECRET}@127.0.0.1:{silence}/0")
    began = time.monotonic()
    state.engine.deliver([Hint(state.store.identity, "default", "job", 0)])
    assert time.monotonic() - began < 2.5
    began = time.monotonic()
    for _ in range(100):
        state.engine.deliver([Hint(state.store.identity, "default", "job", 0)])
    assert time.monotonic() - began < 0.5


def test_a_worker_that_is_stopped_before_it_starts_leaves_nothing_open() -> None:
    """Its pool is made long before it begins."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = TaskPool(1)
        pool.end_worker()
        del pool
        gc.collect()
    assert [each for each in caught if "socket" in str(each.message)] == []
