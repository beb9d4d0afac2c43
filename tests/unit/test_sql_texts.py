"""What the SQL store makes of texts, addresses and errors, before any database sees them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, OperationalError

from flask_later.core.clock import SystemClock
from flask_later.core.store import DUE
from flask_later.errors import InvalidSettingError, StoreDeniedError, StoreUnavailableError
from flask_later.stores.peers import IDS, announced_as
from flask_later.stores.sql import SQLStore
from flask_later.stores.sql.address import parse, place_of
from flask_later.stores.sql.connections import Connections
from flask_later.stores.sql.messages import messages_of, topics_of
from flask_later.stores.sql.texts import escaped, unescaped
from flask_later.stores.sql.trouble import Trouble, kind_of, reason_of, translate

SECRET = "s3cr3t-w0rd"

any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_every_text_comes_back(text: str) -> None:
    """And what is stored is free of what a database cannot keep or compare."""
    stored = escaped(text)
    assert unescaped(stored) == text
    stored.encode("utf-8")
    assert "\0" not in stored
    assert not stored.endswith(" ")


@given(st.lists(any_text, min_size=2, max_size=2, unique=True))
def test_different_texts_are_stored_as_different_ones(texts: list[str]) -> None:
    """Also where one looks like the escaped other."""
    one, other = texts
    assert len({escaped(one), escaped(other), escaped(escaped(one))}) >= 2
    assert escaped(one) != escaped(other)


def test_ordinary_texts_are_stored_as_they_are() -> None:
    """Who looks into the tables can read them."""
    for text in ('{"args":["é","\\ud800"]}', "two words", "\U0001f40d", ""):
        assert escaped(text) == text


@pytest.mark.parametrize(
    ("address", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mysql+pymysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mysql+pymysql"),
        ("mariadb+pymysql://u:p@h/d", "mysql+pymysql"),
    ],
)
def test_each_kind_of_address_has_one_driver(address: str, driver: str) -> None:
    """Whether it is named or not."""
    assert parse(address).drivername == driver


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:{SECRET}@h",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql//u:{SECRET}",
        f"postgresql://u:p@{SECRET}@h/d",
        f"mysql://u:p@{SECRET}@127.0.0.1:13306/d",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(address: str) -> None:
    """The error shows what one looks like."""
    with pytest.raises(InvalidSettingError) as refusal:
        parse(address)
    assert SECRET not in str(refusal.value)
    assert "postgresql://user:password@host/database" in str(refusal.value)


@pytest.mark.parametrize("kind", ["postgresql+psycopg2", "mysql+mysqldb"])
def test_another_driver_is_refused_by_its_name(kind: str) -> None:
    """Each kind of server has one."""
    with pytest.raises(InvalidSettingError, match=rf"of the kind '{re.escape(kind)}'") as refusal:
        parse(f"{kind}://u:{SECRET}@h/d")
    assert SECRET not in str(refusal.value)
    assert "postgresql://" in str(refusal.value)


def test_an_option_that_the_driver_does_not_know_is_refused() -> None:
    """At the start, and by its name alone."""
    with pytest.raises(InvalidSettingError, match=r"option 'ssl_cat'.*\?ssl_ca=") as refusal:
        Connections(parse(f"mysql://u:{SECRET}@h/d?ssl_cat={SECRET}"), 1, 1.0)
    assert SECRET not in str(refusal.value)
    Connections(parse("mysql://u@h/d?ssl_ca=/db.pem&ssl_check_hostname=false"), 1, 1.0).close()


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As a store that cannot be reached: it may be exchanged just now."""
    address = f"mysql://u:{SECRET}@127.0.0.1:1/d?ssl_ca={tmp_path / 'db.pem'}"
    store = SQLStore(address, SystemClock())
    with pytest.raises(StoreUnavailableError, match=r"db\.pem cannot be used: No such") as refusal:
        store.get(["a"])
    assert SECRET not in str(refusal.value)


def test_the_place_is_shown_without_what_is_secret() -> None:
    """A password may stand behind the question mark as well."""
    url = parse(f"postgresql://ada:{SECRET}@db.example:5433/shop?password={SECRET}")
    assert place_of(url) == "postgresql://ada:***@db.example:5433/shop"


class DriverError(Exception):
    """As the drivers raise them: psycopg's have a SQLSTATE, PyMySQL's a number in front."""

    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


def failed(cause: Exception, *, disconnected: bool = False) -> DBAPIError:
    statement = f"INSERT INTO later_job VALUES ({SECRET})"
    return OperationalError(statement, None, cause, connection_invalidated=disconnected)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (DriverError("deadlock detected", sqlstate="40P01"), Trouble.CONFLICT),
        (DriverError("duplicate key", sqlstate="23505"), Trouble.CONFLICT),
        (DriverError("canceling statement due to lock timeout", sqlstate="55P03"), Trouble.BUSY),
        (DriverError("terminating connection", sqlstate="57P01"), Trouble.GONE),
        (DriverError("connection exception", sqlstate="08006"), Trouble.GONE),
        (DriverError("permission denied", sqlstate="42501"), Trouble.DENIED),
        (DriverError("could not extend file", sqlstate="53100"), Trouble.FULL),
        (DriverError("read-only transaction", sqlstate="25006"), Trouble.READ_ONLY),
        (DriverError("division by zero", sqlstate="22012"), Trouble.OTHER),
        (DriverError(1213, "Deadlock found"), Trouble.CONFLICT),
        (DriverError(1062, "Duplicate entry", sqlstate="23000"), Trouble.CONFLICT),
        (DriverError(1205, "Lock wait timeout exceeded"), Trouble.BUSY),
        (DriverError(2003, "Can't connect"), Trouble.GONE),
        (DriverError(1045, "Access denied"), Trouble.DENIED),
        (DriverError("connection failed: Connection refused"), Trouble.GONE),
        (DriverError("connection failed: FATAL:  role does not exist"), Trouble.DENIED),
        (DriverError("FATAL:  the database system is starting up"), Trouble.GONE),
    ],
)
def test_errors_are_told_apart(cause: Exception, kind: Trouble) -> None:
    """By their codes, and before there is a connection by their texts."""
    assert kind_of(failed(cause)) is kind


def test_a_connection_that_broke_off_is_gone_whatever_the_code() -> None:
    """SQLAlchemy has seen it."""
    assert kind_of(failed(DriverError(0, ""), disconnected=True)) is Trouble.GONE


def test_an_error_tells_neither_the_statement_nor_the_row() -> None:
    """PostgreSQL shows the row that it refuses; arguments of jobs are nobody's business."""
    told = f'null value in column "id"\nDETAIL:  Failing row contains ({SECRET}).'
    error = failed(DriverError(told, sqlstate="23502"))
    assert reason_of(error) == 'null value in column "id"'
    assert SECRET not in str(translate(error, "postgresql://h/d", 0.0, uncertain=False))


def test_an_error_says_where_and_what_to_do() -> None:
    """In one line."""
    gone = translate(failed(DriverError(2003, "refused")), "mysql://h/d", 0.0, uncertain=True)
    assert isinstance(gone, StoreUnavailableError)
    assert "mysql://h/d" in str(gone)
    assert "not known whether" in str(gone)
    denied = translate(failed(DriverError(1045, "Access denied")), "p", 0.0, uncertain=False)
    assert isinstance(denied, StoreDeniedError)
    assert "Access denied" in str(denied)
    assert "LATER_STORE" in str(denied)


@given(st.lists(any_text, max_size=50, unique=True))
def test_notifications_bring_all_topics_and_are_short(topics: list[str]) -> None:
    """PostgreSQL takes less than 8000 bytes of ASCII."""
    messages = [*messages_of(topic * 20 for topic in topics)]
    assert [each for message in messages for each in topics_of(message)] == [
        topic * 20 for topic in topics
    ]
    assert all(message.isascii() and "\0" not in message for message in messages)


def test_many_topics_are_several_notifications() -> None:
    """None of them too long."""
    topics = [f"queue-{number}" * 5 for number in range(500)]
    messages = [*messages_of(topics)]
    assert len(messages) > 1
    assert all(len(message) < 8000 for message in messages)


@pytest.mark.parametrize("message", ["", "nonsense", "{}", '"mail"', "[1, null]", "\ud800"])
def test_a_notification_that_is_not_ours_is_nothing(message: str) -> None:
    """Anybody who may use the database may send one."""
    assert topics_of(message) == []


def test_a_wait_is_announced_by_what_changes_seldom() -> None:
    """Ids of jobs all alike; no topics are any queue."""
    assert announced_as(["mail", "0" * 32, "1" * 32, DUE]) == {"mail", IDS, DUE}
    assert announced_as([]) == {"@any"}


def test_topics_are_sent_as_json() -> None:
    """So any text is one."""
    assert [*messages_of(["a", "\0"])] == [json.dumps(["a", "\0"])]
