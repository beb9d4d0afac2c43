"""How the parts of an app are made from its settings: clock, store and engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from flask import Flask

from flask_later.config import Settings
from flask_later.core.clock import Clock, SystemClock, VirtualClock
from flask_later.core.engine import Engine, Run
from flask_later.core.job import JobState
from flask_later.core.store import Limits, Store
from flask_later.errors import InvalidSettingError, NotInstalledError, UnsupportedError
from flask_later.errors.words import about_address, closest
from flask_later.runtime.loading import load
from flask_later.tasks.enqueue import require_durable
from flask_later.tasks.opening import ProcessLock
from flask_later.tasks.registry import Registry
from flask_later.tasks.state import Parts

PREPARED_KEY = "later.prepared"

_REACHES = ("process", "machine", "network")
_STORES = ("memory", "sqlite", "postgresql", "mysql", "mariadb")
#: Connections of a process to its database for those that do not run jobs: requests, upkeep.
_MORE_CONNECTIONS = 10
_ENGINES = {"native": "NativeEngine", "celery": "CeleryEngine", "rq": "RQEngine"}


class Prepared(NamedTuple):
    """Parts that are used as they are, where the others are made from the settings.

    Put into ``app.extensions[PREPARED_KEY]`` before the first use, by whoever tests a store or an
    engine. The store must tell the time by this clock.
    """

    clock: Clock | None = None
    store: Store | None = None
    engine: Engine | None = None


class Assembly:
    """Makes an app's parts from its settings, once, when somebody first needs them."""

    def __init__(self, app: Flask, registry: Registry, run: Run) -> None:
        self._app = app
        self._registry = registry
        self._run = run
        self._lock = ProcessLock()
        self._parts: Parts | None = None

    def __call__(self) -> Parts:
        with self._lock.here():
            if self._parts is None:
                self._parts = self._assemble()
            return self._parts

    def _assemble(self) -> Parts:
        app = self._app
        settings = Settings.from_config(app.config)
        manual = app.testing if settings.manual is None else settings.manual
        prepared: Prepared = app.extensions.get(PREPARED_KEY, Prepared())
        clock = prepared.clock or (VirtualClock() if manual else SystemClock())
        store = prepared.store or _make_store(app, settings, clock)
        engine = prepared.engine or _make_engine(app, settings, manual=manual)
        if settings.embedded is None:
            settings = replace(settings, embedded=settings.engine == "native" or manual)
        _require_reach(settings, engine, store)
        for task in self._registry.tasks():
            require_durable(task, settings, store)
        engine.bind(self._run, store)
        return Parts(settings, clock, store, engine, manual)


def _make_store(app: Flask, settings: Settings, clock: Clock) -> Store:
    address = settings.store or ("memory://" if app.testing else "sqlite:///later.sqlite3")
    kind = address.partition("://")[0]
    limits = _limits(settings)
    match kind.partition("+")[0]:
        case "memory":
            memory: Store = load("stores.memory", "MemoryStore")(clock, limits)
            return memory
        case "sqlite":
            return _make_sqlite_store(app, address, settings, clock, limits)
        case "postgresql" | "mysql" | "mariadb":
            return _make_sql_store(address, settings, clock, limits)
        case _:
            near = closest(kind, _STORES).removesuffix(".")
            raise InvalidSettingError(
                "LATER_STORE",
                about_address(address),
                "memory://, sqlite:///path, postgresql://user:password@host/database or "
                f"mysql://user:password@host/database{near and '.' + near}",
            )


def _limits(settings: Settings) -> Limits:
    keep = {
        JobState.SUCCEEDED: timedelta(seconds=settings.keep_succeeded),
        JobState.FAILED: timedelta(seconds=settings.keep_failed),
        JobState.CANCELLED: timedelta(seconds=settings.keep_failed),
    }
    return Limits(
        settings.max_pending, settings.max_pending_per_principal, keep, settings.max_finished
    )


def _make_sqlite_store(
    app: Flask, address: str, settings: Settings, clock: Clock, limits: Limits
) -> Store:
    path = address.partition("://")[2].removeprefix("/")
    if path in ("", ":memory:"):
        raise InvalidSettingError(
            "LATER_STORE", repr(address), "sqlite:///path to a file, or memory://"
        )
    instance = Path(app.instance_path)
    store: Store = load("stores.sqlite.store", "SQLiteStore")(
        instance / path,
        clock,
        limits,
        files=instance / settings.files if settings.files else None,
        power_safe=settings.durability == "power",
        min_free=settings.min_free,
        app=f"{app.root_path}:{app.import_name}",
    )
    return store


def _make_sql_store(address: str, settings: Settings, clock: Clock, limits: Limits) -> Store:
    # Each job and each request of a thread takes one, for a moment.
    connections = settings.threads + _MORE_CONNECTIONS
    try:
        store: Store = load("stores.sql.store", "SQLStore")(
            address, clock, limits, connections=connections
        )
    except ImportError as error:
        kind = address.partition("://")[0]
        module = error.name or "psycopg"
        raise NotInstalledError(f"LATER_STORE = '{kind}://...'", module, "sql") from error
    return store


def _make_engine(app: Flask, settings: Settings, *, manual: bool) -> Engine:
    if settings.engine not in _ENGINES:
        near = closest(settings.engine, [*_ENGINES]).removesuffix(".")
        expected = f"{', '.join(map(repr, _ENGINES))}{near and '.' + near}"
        raise InvalidSettingError("LATER_ENGINE", repr(settings.engine), expected)
    _refuse_idle_broker(settings)
    # Whoever works by hand needs no broker, and no library either.
    if manual or settings.engine == "native":
        engine: Engine = load("engines.native", "NativeEngine")()
        return engine
    # Where Flask's documentation has it.
    own = app.extensions.get("celery") if settings.engine == "celery" else None
    broker = _require_broker(settings, own)
    try:
        adapter = load(f"engines.{settings.engine}", _ENGINES[settings.engine])
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        wanted = f"LATER_ENGINE = {settings.engine!r}"
        raise NotInstalledError(wanted, module, settings.engine) from error
    brokered: Engine = adapter(broker, settings.queues)
    return brokered


def _refuse_idle_broker(settings: Settings) -> None:
    if settings.engine == "native" and settings.broker is not None:
        raise UnsupportedError(
            "LATER_BROKER is set",
            "the native engine has no broker, and would not ask it",
            "Name the engine that has, such as LATER_ENGINE = 'celery', or remove LATER_BROKER.",
        )


def _require_broker(settings: Settings, own: object) -> object:
    """Return what the engine sends its hints through: LATER_BROKER, or the app's *own*."""
    broker = own if settings.broker is None else settings.broker
    if broker is None:
        raise InvalidSettingError(
            "LATER_BROKER",
            f"not set, and LATER_ENGINE is {settings.engine!r}",
            "where the broker is, e.g. 'redis://localhost:6379/0'",
        )
    return broker


def _require_reach(settings: Settings, engine: Engine, store: Store) -> None:
    if _REACHES.index(store.reach) < _REACHES.index(engine.requires_reach):
        raise UnsupportedError(
            f"LATER_ENGINE = {settings.engine!r}",
            f"its workers may be on other machines, and LATER_STORE ({store.place or store.reach}) "
            f"is seen by one {store.reach} only",
            "Set LATER_STORE to a database, e.g. 'postgresql://user@host/shop'.",
        )
