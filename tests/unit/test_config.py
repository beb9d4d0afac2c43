"""``LATER_*``: every key read, refused when wrong, and frozen at the first use."""

from __future__ import annotations

import sys
import threading
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_later import Later
from flask_later.config import Settings, queue_name, seconds
from flask_later.errors import InvalidSettingError, NotInstalledError, UnknownSettingError
from flask_later.tasks.state import AppState

COUNTS = [0, -1, 1.5, "4", True, None]
DURATIONS = [-1, "2", None, True, float("nan"), float("inf"), timedelta(seconds=-1), 1e10]
FLAGS = [0, 1, "yes", ""]

#: For each key a value, what it is read as, and values that are refused.
KEYS: dict[str, tuple[object, object, list[object]]] = {
    "STORE": ("memory://", "memory://", ["", 5, b"memory://", Path("later.sqlite3")]),
    "DURABILITY": ("process", "process", ["", "disk", None, 5, True]),
    "MIN_FREE": (0, 0, [-1, 1.5, "4", True, None]),
    "ENGINE": ("native", "native", ["", None, 5]),
    "BROKER": ("redis://localhost", "redis://localhost", ["", 5, b"redis://localhost"]),
    "THREADS": (8, 8, COUNTS),
    "EMBEDDED": (False, False, FLAGS),
    "QUEUES": (
        ["mail", "default"],
        ("mail", "default"),
        [[], "", 5, {"mail": 1}, b"mail", ["mail", 5], ["a b"], ["x" * 65], ["mail", ""], [None]],
    ),
    "MANUAL": (True, True, FLAGS),
    "MAX_PENDING": (5, 5, COUNTS),
    "MAX_PENDING_PER_PRINCIPAL": (5, 5, [0, -1, 1.5, "4", True]),
    "MAX_CALLBACKS": (5, 5, COUNTS),
    "CALLBACK_THREADS": (5, 5, COUNTS),
    "SHUTDOWN_TIMEOUT": (timedelta(seconds=3), 3.0, DURATIONS),
    "MAX_ARGUMENTS": (1024, 1024, COUNTS),
    "MAX_RESULT": (1024, 1024, COUNTS),
    "FILES": ("/srv/shop/files", "/srv/shop/files", ["", 5, Path("files")]),
    "KEEP_SUCCEEDED": (60, 60.0, DURATIONS),
    "KEEP_FAILED": (60.5, 60.5, DURATIONS),
    "MAX_FINISHED": (5, 5, COUNTS),
    "BASE_URL": (
        "https://shop.example/app/",
        "https://shop.example/app/",
        [
            "",
            5,
            "shop.example",
            "localhost:5000",
            "/app",
            "https://",
            "ftp://shop.example/",
            "http://a b/",
            "http://a/?x=1",
        ],
    ),
    "OPERATIONS": ("/api/jobs", "/api/jobs", ["", "/", "jobs", "/jobs/", "/a b", "/<id>", 5]),
    "MAX_WAIT": (timedelta(seconds=3), 3.0, DURATIONS),
    "MAX_WAITERS": (0, 0, [-1, 1.5, "4", True]),
    "EVENTS": (True, True, [*FLAGS, None]),
    "MAX_STREAMS": (5, 5, COUNTS),
    "ANONYMOUS_OPERATIONS": (False, False, [*FLAGS, None]),
    "MAX_REQUEST": (5, 5, COUNTS),
    "MAX_RESPONSE": (5, 5, COUNTS),
    "REQUEST_HEADERS": (
        "X-Tenant, x-shard",
        ("HTTP_X_TENANT", "HTTP_X_SHARD"),
        ["", "a b", ["x", 5], 5, b"x", None, ["Cookie"], "authorization", ["X:Y"]],
    ),
    "TRUSTED_ORIGINS": (
        "https://shop.example, http://localhost:3000",
        ("https://shop.example", "http://localhost:3000"),
        ["", "shop.example", ["https://shop.example/"], ["*"], 5, b"x", None],
    ),
    "OPERATION_LOCATION": (True, True, [*FLAGS, None]),
}
WRONG = [(f"LATER_{key}", wrong) for key, (_, _, values) in KEYS.items() for wrong in values]
CLEARED = [
    "STORE",
    "BROKER",
    "EMBEDDED",
    "QUEUES",
    "MANUAL",
    "FILES",
    "BASE_URL",
    "OPERATIONS",
    "MAX_PENDING_PER_PRINCIPAL",
    "MAX_WAITERS",
]


def state_of(app: Flask) -> AppState:
    state: AppState = app.extensions["later"]
    return state


def test_every_key_is_tested_here() -> None:
    """A setting that is added gets its values in this file."""
    assert {f"{field.name.upper()}" for field in fields(Settings)} == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_read(key: str) -> None:
    """It ends up in the setting of its name, and the others keep their defaults."""
    given, read, _ = KEYS[key]
    settings = Settings.from_config({f"LATER_{key}": given})
    changed = {
        field.name: value
        for field in fields(Settings)
        if (value := getattr(settings, field.name)) != getattr(Settings(), field.name)
    }
    assert getattr(settings, key.lower()) == read
    assert set(changed) <= {key.lower()}


@pytest.mark.parametrize(("key", "wrong"), WRONG, ids=str)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(key: str, wrong: object) -> None:
    """The error names the key, so that nobody has to search for it."""
    with pytest.raises(InvalidSettingError, match=f"^{key} is ") as refusal:
        Settings.from_config({key: wrong})
    assert refusal.value.key == key
    assert refusal.value.expected


@pytest.mark.parametrize("key", CLEARED)
def test_none_stands_for_the_default_where_that_is_none(key: str) -> None:
    """Such a key can be unset again."""
    assert getattr(Settings.from_config({f"LATER_{key}": None}), key.lower()) is None


@pytest.mark.parametrize("key", ["LATER_STORE", "LATER_BROKER"])
def test_an_address_is_never_shown(key: str) -> None:
    """It may hold a password."""
    with pytest.raises(InvalidSettingError) as refusal:
        Settings.from_config({key: ["redis://:secret@localhost"]})
    assert "secret" not in str(refusal.value)


def test_an_empty_address_is_called_empty() -> None:
    """An environment variable without a value ends up as one."""
    with pytest.raises(InvalidSettingError, match="LATER_BROKER is empty"):
        Settings.from_config({"LATER_BROKER": ""})


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("mail", ("mail",)),
        ("mail, default", ("mail", "default")),
        (("a", "b-c", "d.e_1"), ("a", "b-c", "d.e_1")),
        (["x" * 64], ("x" * 64,)),
    ],
)
def test_queues_may_be_a_text_with_commas(given: object, read: tuple[str, ...]) -> None:
    """The order stays: it is what workers take from first."""
    assert Settings.from_config({"LATER_QUEUES": given}).queues == read


@pytest.mark.parametrize("name", ["", "a b", "@due", "ä", "x" * 65, "a/b", 5, None])
def test_a_queue_needs_a_plain_name(name: Any) -> None:
    """Letters, digits, dot, underscore and dash; anything else is refused."""
    with pytest.raises(InvalidSettingError, match="queue is "):
        queue_name(name)


def test_durations_are_seconds() -> None:
    """A timedelta means the same as its seconds."""
    assert seconds("delay", timedelta(minutes=1)) == seconds("delay", 60) == 60.0


def test_a_duration_has_an_end() -> None:
    """The error tells it, so that nobody looks for a sign or a type that is wrong."""
    assert seconds("delay", 1e10 - 1)
    with pytest.raises(InvalidSettingError) as refusal:
        seconds("delay", 1e10)
    expected = "seconds, 0 or more and less than 10,000,000,000, as a number or a timedelta"
    assert str(refusal.value) == f"delay is 10000000000.0, expected {expected}."


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    """A slip of the pen does not silently leave the default in force."""
    with pytest.raises(UnknownSettingError) as refusal:
        Settings.from_config({"LATER_THREAD": 4})
    assert "There is no setting 'LATER_THREAD'. Closest: 'LATER_THREADS'" in str(refusal.value)


def test_other_keys_are_not_ours() -> None:
    """Whatever does not begin with LATER_ is passed over."""
    assert Settings.from_config({"SECRET_KEY": "x", "LATERAL": 1, "later_threads": 1}) == Settings()


def test_settings_are_frozen() -> None:
    """What has been read cannot be changed under those who use it."""
    with pytest.raises(FrozenInstanceError):
        Settings().threads = 5  # type: ignore[misc]


# In the environment


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """``from_prefixed_env`` is all it takes: numbers, flags, lists and texts."""
    monkeypatch.setenv("FLASK_LATER_STORE", "memory://")
    monkeypatch.setenv("FLASK_LATER_THREADS", "8")
    monkeypatch.setenv("FLASK_LATER_EMBEDDED", "false")
    monkeypatch.setenv("FLASK_LATER_QUEUES", "mail,default")
    monkeypatch.setenv("FLASK_LATER_SHUTDOWN_TIMEOUT", "0.5")
    app = Flask("shop")
    app.config.from_prefixed_env()
    settings = Settings.from_config(app.config)
    assert (settings.store, settings.threads, settings.embedded) == ("memory://", 8, False)
    assert (settings.queues, settings.shutdown_timeout) == (("mail", "default"), 0.5)


def test_a_flag_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's spelling arrives as a text; the error says how to write it there."""
    monkeypatch.setenv("FLASK_LATER_EMBEDDED", "False")
    app = Flask("shop")
    app.config.from_prefixed_env()
    with pytest.raises(InvalidSettingError, match="in an environment variable: true or false"):
        Later().init_app(app)


# When they are read


def test_init_app_refuses_what_is_wrong() -> None:
    """A mistake shows when the app is made, not at the first job."""
    app = Flask("shop")
    app.config["LATER_THREADS"] = 0
    with pytest.raises(InvalidSettingError, match="LATER_THREADS"):
        Later().init_app(app)
    assert "later" not in app.extensions


def test_settings_may_change_until_the_first_use() -> None:
    """``app.config.update`` after ``init_app``, as tests do it, still counts."""
    app, later = Flask("shop"), Later()
    later.init_app(app)
    app.config.update(LATER_STORE="memory://", LATER_THREADS=3)
    assert state_of(app).settings.threads == 3


def test_settings_freeze_at_the_first_use() -> None:
    """Afterwards a change has no effect, since threads and stores have been made from them."""
    app, later = Flask("shop"), Later()
    app.config["LATER_STORE"] = "memory://"
    later.init_app(app)
    before = state_of(app).settings
    app.config["LATER_THREADS"] = 99
    assert state_of(app).settings is before
    assert before.threads == 4


def test_what_was_made_wrong_after_init_app_is_refused_at_each_use() -> None:
    """Nothing is made from half of the settings."""
    app, later = Flask("shop"), Later()
    later.init_app(app)
    app.config["LATER_MAX_PENDING"] = "many"
    for _ in range(2):
        with app.app_context(), pytest.raises(InvalidSettingError, match="LATER_MAX_PENDING"):
            later.job("0" * 32)


def test_threads_that_come_first_together_get_the_same_parts() -> None:
    """The parts are made once, whoever asks first."""
    app, later = Flask("shop"), Later()
    app.config["LATER_STORE"] = "memory://"
    later.init_app(app)
    stores: list[object] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        stores.append(state_of(app).store)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 8
    assert len({id(store) for store in stores}) == 1


def test_a_tested_app_has_a_memory_store_and_runs_nothing_by_itself() -> None:
    """Under ``TESTING`` nothing has to be set."""
    app = Flask("shop")
    app.testing = True
    Later().init_app(app)
    parts = state_of(app).parts
    assert (parts.store.reach, parts.manual) == ("process", True)


def test_a_tested_app_may_ask_for_threads() -> None:
    """``LATER_MANUAL = False`` beats ``TESTING``: for tests of live servers."""
    app = Flask("shop")
    app.config.update(TESTING=True, LATER_MANUAL=False)
    Later().init_app(app)
    assert not state_of(app).parts.manual


def test_by_default_jobs_are_kept_in_a_file_of_the_instance_folder(tmp_path: Path) -> None:
    """Durable, with nothing to install or to set."""
    app = Flask("shop", instance_path=str(tmp_path))
    Later().init_app(app)
    assert state_of(app).store.durable
    assert (tmp_path / "later.sqlite3").exists()
    state_of(app).store.close()


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("LATER_STORE", "sqlit:///jobs.db", "Closest: 'sqlite'"),
        ("LATER_STORE", "redis://localhost", "memory://, sqlite:///path"),
        ("LATER_ENGINE", "nativ", "Closest: 'native'"),
    ],
)
def test_an_unknown_store_or_engine_is_refused_at_the_first_use(
    key: str, value: str, hint: str
) -> None:
    """The error names those there are."""
    app, later = Flask("shop"), Later()
    app.config.update({"LATER_STORE": "memory://", key: value})
    later.init_app(app)
    with app.app_context(), pytest.raises(InvalidSettingError) as refusal:
        later.job("0" * 32)
    assert str(refusal.value).startswith(key)
    assert hint in str(refusal.value)


@pytest.mark.parametrize("address", ["u:s3cret@h/d", "postgresql:/u:s3cret@h/d"])
def test_an_address_without_its_scheme_is_not_shown(address: str) -> None:
    """There may be a password in it."""
    app, later = Flask("shop"), Later()
    app.config["LATER_STORE"] = address
    later.init_app(app)
    with app.app_context(), pytest.raises(InvalidSettingError, match="is no address") as refusal:
        later.job("0" * 32)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("address", "module"),
    [("postgresql://u:s3cret@h/d", "psycopg"), ("mariadb://u:s3cret@h/d", "pymysql")],
)
def test_a_missing_driver_is_answered_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, address: str, module: str
) -> None:
    """And the password of the address is not shown."""
    monkeypatch.setitem(sys.modules, module, None)
    app, later = Flask("shop"), Later()
    app.config["LATER_STORE"] = address
    later.init_app(app)
    with app.app_context(), pytest.raises(NotInstalledError) as refusal:
        later.job("0" * 32)
    assert module in str(refusal.value)
    assert 'pip install "Flask-Later[sql]"' in str(refusal.value)
    assert "s3cret" not in str(refusal.value)
