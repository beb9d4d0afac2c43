"""Wake-ups from process to process: who listens stands in the file, a datagram does the rest.

A datagram says *look again*, and may be lost: the listener looks from time to time all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import secrets
import select
import socket
import sys
import time
import weakref
from collections.abc import Collection, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, cast

from flask_later.core.job import is_id
from flask_later.stores.peers import IDS, announced_as
from flask_later.stores.waiters import ANY, QUIET, is_queue

from .connection import Connection
from .jobs import Tally, tell_of_listeners
from .locks import boot_id

#: Whether a name can be bound that is no file, and goes with its process.
_HAS_ABSTRACT: bool = sys.platform == "linux"
#: The most processes that are told of one thing.
_MOST_TOLD = 8
#: Queues of which it is kept when somebody was told of them.
_MOST_KEPT = 1_000
#: The most topics in one datagram; of more ids none is named.
_MOST_TOPICS = 50
#: Bytes of a datagram; a longer one is cut, and then means nothing.
_SIZE = 16_384
#: As many datagrams as a Linux socket holds by default: some may have found no place.
_FULL = 10
#: Microseconds after which a row goes that nobody here can judge. Who lives writes it again.
_UNKNOWN_FOR = 3_600_000_000

_READ = "SELECT address, secret, topics FROM listener WHERE place = ? ORDER BY address LIMIT 100"
_ANNOUNCE = """
    INSERT OR REPLACE INTO listener (address, secret, place, pid, at, topics)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_WITHDRAW = "DELETE FROM listener WHERE address = ?"
_ANNOUNCED = "SELECT topics FROM listener WHERE address = ?"
_ALL = "SELECT address, place, pid, at FROM listener LIMIT 1000"


class Address(NamedTuple):
    """Where a process listens. Datagrams begin with the secret, which stands in the file only."""

    name: str
    secret: str


class _Listener(NamedTuple):
    address: Address
    topics: frozenset[str]

    def heard(self, topics: Collection[str]) -> list[str]:
        """Return those of *topics* that its threads wait for."""
        return [topic for topic in topics if self._hears(topic)]

    def _hears(self, topic: str) -> bool:
        if topic in self.topics:
            return True
        if is_id(topic):
            return IDS in self.topics
        return ANY in self.topics and is_queue(topic)


class Wakeups:
    """The listeners of one file, as this process knows them from its last write."""

    def __init__(self) -> None:
        self._place = _place()
        #: The number of the tally when the listeners were read.
        self._read_at: int | None = None
        self._listeners: list[_Listener] = []
        #: When those who listen were told of which queue.
        self._told_at: dict[str, float] = {}
        self._socket: socket.socket | None = None
        #: Where this process listens, which it need not tell itself.
        self.mine: Address | None = None

    def read(self, db: Connection, tally: Tally) -> None:
        """Learn who listens. In a transaction that writes, nobody is missed: who comes later looks
        later, and finds what was written.
        """
        if tally.listeners == self._read_at:
            return
        self._listeners = [_to_listener(*row) for row in db.all(_READ, (self._place,))]
        self._read_at = tally.listeners
        self._told_at.clear()
        if self._socket is None and self._listeners:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def forget(self) -> None:
        """Read anew with the next write: the file may be another one."""
        self._read_at = None

    def close(self) -> None:
        """Forget all, until the next write."""
        self._read_at, self._listeners = None, []
        out, self._socket = self._socket, None
        if out is not None:
            out.close()

    def send(self, topics: Collection[str]) -> None:
        """Tell those who wait for *topics* in other processes. Does not wait, and may fail."""
        if not self._listeners:
            return
        now, told_at = time.monotonic(), self._told_at
        news = [topic for topic in topics if now - told_at.get(topic, -inf) > QUIET]
        if news and self._tell(news):
            if len(told_at) > _MOST_KEPT:
                told_at.clear()
            told_at.update((topic, now) for topic in news if is_queue(topic))

    def _tell(self, news: Sequence[str]) -> bool:
        """Tell who waits for any of *news*; False if that reached none of them."""
        others = [each for each in self._listeners if each.address != self.mine]
        told = [(each.address, heard) for each in others if (heard := each.heard(news))]
        if len(told) > _MOST_TOLD:
            told = random.sample(told, _MOST_TOLD)
        sent = [self._send(address, heard) for address, heard in told]
        return not sent or any(sent)

    def _send(self, address: Address, topics: Sequence[str]) -> bool:
        if len(topics) > _MOST_TOPICS:
            topics = sorted(announced_as(topics))[:_MOST_TOPICS]
        out = self._socket
        if out is not None:
            # Full: then it has enough to read. Gone: then somebody will delete its row.
            with contextlib.suppress(OSError):
                out.sendto(_to_datagram(address, topics), _to_path(address.name))
                return True
        return False

    def announce(self, db: Connection, address: Address, topics: Collection[str], at: int) -> None:
        """Say in the file that this process listens at *address* for *topics*."""
        listed = json.dumps(sorted(topics))
        db.execute(_ANNOUNCE, (*address, self._place, os.getpid(), at, listed))
        tell_of_listeners(db)

    def withdraw(self, db: Connection, names: Collection[str]) -> None:
        for name in names:
            db.execute(_WITHDRAW, (name,))
        tell_of_listeners(db)

    def announced(self, db: Connection, address: Address) -> frozenset[str] | None:
        """Return for what this process listens according to the file, if it is in there."""
        row = db.one(_ANNOUNCED, (address.name,))
        return None if row is None else frozenset(json.loads(row[0]))

    def dead(self, db: Connection, now: int) -> list[str]:
        """Return the addresses of processes that have ended without a word."""
        rows = db.all(_ALL)
        return [
            name for name, place, pid, at in rows if not self._may_live(name, place, pid, now - at)
        ]

    def _may_live(self, name: str, place: str, pid: int, age: int) -> bool:
        if place != self._place:
            # Another container of this boot, say: neither pids nor addresses can be compared.
            return _boot_of(place) == _boot_of(self._place) and age < _UNKNOWN_FOR
        return _is_process(pid) and _is_bound(name)


def socket_prefix(app: str) -> str:
    """Return with what the names of the sockets begin that the processes of *app* listen on."""
    return f"@flask-later-{hashlib.sha256(app.encode()).hexdigest()[:12]}-"


class Inbox:
    """What others send to this process of *app*. Raises OSError if there cannot be one.

    What nobody reads fills the buffer of the kernel, which costs nobody anything.
    """

    poll = 0.5
    rest = 60.0

    def __init__(self, path: Path, app: str = "") -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._file: Path | None = None
        token = secrets.token_hex(16)
        if _HAS_ABSTRACT:
            name = socket_prefix(app) + token
        else:
            self._file = Path(f"{path}-wake-{token[:8]}")
            name = str(self._file)
        try:
            self._socket.bind(_to_path(name))
            if self._file is not None:
                self._file.chmod(0o600)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self.address = Address(name, secrets.token_hex(16))
        _inboxes.add(self)

    def receive(self, timeout: float) -> list[str] | None:
        topics: list[str] = []
        if not self._poll.poll(timeout * 1000):
            return topics
        # Whatever came with the first is read with it.
        for _ in range(_FULL):
            try:
                topics += self._topics_in(self._socket.recv(_SIZE))
            except OSError:
                return topics
        return None

    def interrupt(self) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(b"", _to_path(self.address.name))

    def close(self) -> None:
        self.forget()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def forget(self) -> None:
        """Close it in this process only, the child of the one that listens."""
        _inboxes.discard(self)
        self._socket.close()

    def _topics_in(self, datagram: bytes) -> list[str]:
        prefix = self.address.secret.encode()
        if not datagram.startswith(prefix):
            return []
        try:
            topics: Any = json.loads(datagram[len(prefix) :])
        except ValueError:
            return []
        return [*map(str, cast("list[object]", topics))] if isinstance(topics, list) else []


#: Those that are open in this process. A child must not keep its parent's address alive.
_inboxes: weakref.WeakSet[Inbox] = weakref.WeakSet()


def _forget_inherited() -> None:
    for inbox in [*_inboxes]:
        inbox.forget()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_inherited)


def _place() -> str:
    """Return what names the set of processes among which addresses and pids mean something."""
    spaces = [_inode(f"/proc/self/ns/{space}") for space in ("net", "pid")]
    return "/".join([boot_id(), *spaces])


def _boot_of(place: str) -> str:
    return place.partition("/")[0]


def _inode(path: str) -> str:
    try:
        return str(Path(path).stat().st_ino)
    except OSError:
        return ""


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _is_bound(name: str) -> bool:
    """Whether anybody listens at *name*; what is left of one who did not end well is deleted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.connect(_to_path(name))
        except (ConnectionRefusedError, FileNotFoundError):
            if not name.startswith("@"):
                Path(name).unlink(missing_ok=True)
            return False
        except OSError:
            return True
        return True


def _to_path(name: str) -> str:
    return f"\0{name[1:]}" if name.startswith("@") else name


def _to_datagram(address: Address, topics: Sequence[str]) -> bytes:
    return (address.secret + json.dumps(topics)).encode("ascii")


def _to_listener(name: str, secret: str, topics: str) -> _Listener:
    return _Listener(Address(name, secret), frozenset(json.loads(topics)))
