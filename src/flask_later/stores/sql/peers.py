"""Telling other processes that there is something for them, by PostgreSQL's LISTEN and NOTIFY.

A process that waits says so in ``later_listener``, with what it waits for. Others look there once a
second, and notify only what somebody wants to hear. NOTIFY is sent after the commit of the jobs and
not in it: PostgreSQL lets such commits pass one by one. So it may be lost, or come early for who
has just begun to listen; those who wait look for themselves every half second.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from flask_later.core.job import is_id
from flask_later.core.store import DUE
from flask_later.errors import StoreError
from flask_later.stores.columns import to_micros
from flask_later.stores.ears import Ear
from flask_later.stores.peers import IDS, Peers
from flask_later.stores.waiters import ANY, QUIET, is_queue

from .connections import Connections
from .ears import NotifiedEar
from .jobs import Jobs
from .messages import messages_of, topics_of
from .sweeps import LISTENS_FOR
from .tables import listener
from .transactions import Transactions

#: Seconds between two looks at who listens: where somebody does, and where nobody has so far.
_LOOK_EVERY, _LOOK_OUT_EVERY = 1.0, 0.1
#: Queues of which it is kept when others were told.
_MOST_KEPT = 1_000

_OTHERS = select(listener.c.topics).where(
    listener.c.id != bindparam("me"), listener.c.at >= bindparam("since")
)
_UPDATE = (
    update(listener)
    .where(listener.c.id == bindparam("me"))
    .values(topics=bindparam("topics"), at=bindparam("at"))
)
_INSERT = insert(listener)
_DELETE = delete(listener).where(listener.c.id == bindparam("me"))
_NOTIFY = select(func.pg_notify(bindparam("channel"), bindparam("message")))


class NotifiedPeers(Peers):
    """Sends what others listen for, as much as there is at a time.

    :param identity: returns that of the store, which names the channel.
    """

    is_terse = True

    def __init__(
        self, connections: Connections, transactions: Transactions, identity: Callable[[], str]
    ) -> None:
        self._connections = connections
        self._transactions = transactions
        self._identity = identity
        self.begin()

    @property
    def channel(self) -> str:
        return f"later_{self._identity().replace('-', '_')}"

    def begin(self) -> None:
        # By the name of its parent, the child of a fork would leave out just that one.
        self._me = secrets.token_hex(16)
        self._wanted: frozenset[str] = frozenset()
        self._looked_at = -_LOOK_EVERY
        self._unsent: dict[str, None] = {}
        #: When others were last told of which queue.
        self._told_at: dict[str, float] = {}
        self._sending = threading.Lock()

    def ear(self) -> Ear:
        return NotifiedEar(self._connections, self.channel)

    def announce(self, topics: frozenset[str]) -> None:
        text = json.dumps(sorted(topics))

        def announce(jobs: Jobs) -> None:
            at = to_micros(jobs.now)
            if not jobs.db.execute(_UPDATE, {"me": self._me, "topics": text, "at": at}).rowcount:
                jobs.db.execute(_INSERT, {"id": self._me, "topics": text, "at": at})

        self._transactions.write(announce)

    def withdraw(self) -> None:
        self._transactions.write(lambda jobs: jobs.db.execute(_DELETE, {"me": self._me}))

    def send(self, topics: Collection[str]) -> None:
        pause = _LOOK_EVERY if self._wanted else _LOOK_OUT_EVERY
        if time.monotonic() - self._looked_at >= pause:
            self._looked_at = time.monotonic()
            with contextlib.suppress(StoreError):
                self._wanted = self._transactions.read(self._wanted_by_others)
        self._unsent.update(dict.fromkeys(filter(self._is_news, topics)))
        # Who sends also sends what others have left there meanwhile.
        while self._unsent and self._sending.acquire(blocking=False):
            try:
                unsent, self._unsent = self._unsent, {}
                self._notify([*unsent])
            finally:
                self._sending.release()

    def _wanted_by_others(self, jobs: Jobs) -> frozenset[str]:
        values = {"me": self._me, "since": to_micros(jobs.now) - LISTENS_FOR}
        texts = jobs.db.execute(_OTHERS, values).scalars()
        return frozenset(topic for text in texts for topic in topics_of(text))

    def _is_news(self, topic: str) -> bool:
        """Whether somebody wants to hear of *topic*, and has not heard of it just now."""
        if not self._is_wanted(topic):
            return False
        if not is_queue(topic):
            return True
        now = time.monotonic()
        if now - self._told_at.get(topic, -QUIET) < QUIET:
            return False
        if len(self._told_at) > _MOST_KEPT:
            self._told_at.clear()
        self._told_at[topic] = now
        return True

    def _is_wanted(self, topic: str) -> bool:
        wanted = self._wanted
        if is_id(topic):
            return IDS in wanted
        return topic in wanted or (ANY in wanted and topic != DUE)

    def _notify(self, topics: Sequence[str]) -> None:
        try:
            with self._connections.reading() as db:
                for message in messages_of(topics):
                    db.execute(_NOTIFY, {"channel": self.channel, "message": message})
        except SQLAlchemyError:
            # They look for themselves soon.
            return
