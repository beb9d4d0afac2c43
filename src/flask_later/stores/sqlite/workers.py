"""Who works on this file, and who of them is alive.

A worker holds the lock of its slot, one byte of the lock file, from before its row is committed to
the end of its process. So a free slot is the proof of a death, and a taken one proves that the
process is there; how long a task takes, or holds the interpreter's lock, says nothing.
"""

from __future__ import annotations

import json
import os
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from flask_later.core.clock import Clock
from flask_later.core.job import JobRecord
from flask_later.core.store import BEAT, LEASE, WorkerRecord
from flask_later.logs import Log
from flask_later.stores.columns import from_micros, to_micros

from .connection import Connection
from .jobs import Jobs
from .locks import LOCKS_WORK, LockFile, boot_id, lock_file
from .rows import Row

_logger = Log(__name__)

#: Seconds after which the jobs of a worker whose process ended run again: the next sweep sees it.
RESCUE_AFTER = 2.0 if LOCKS_WORK else LEASE
#: Seconds without a beat after which a process that is there is taken for hung.
HUNG_AFTER = 120.0
#: The most workers that one look finds dead.
_MOST_DEAD = 500
#: Seconds between two beats that are written.
_BEAT_EVERY = BEAT / 2
#: Seconds between two looks at the row of a worker that claims.
_GLANCE_EVERY = 1.0

_BEAT = "UPDATE worker SET boot = ?, beat = ? WHERE slot = ?"
_LAST_BEAT = "SELECT slot, boot, beat FROM worker WHERE id = ?"
_HAS_SLOT = "SELECT 1 FROM worker WHERE slot = ? AND id = ?"
_LAST_SLOT = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'worker'"
_REGISTER = """
    INSERT OR REPLACE INTO worker
    (slot, id, host, pid, started_at, queues, threads, boot, beat, lock_inode)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ROWS = """
    SELECT slot, boot, beat, lock_inode, id, host, pid, started_at, queues, threads FROM worker
    ORDER BY started_at, slot
"""
_ABANDONED = (
    "WHERE state = 'running' AND (worker IS NULL OR worker NOT IN "
    "(SELECT id FROM worker WHERE slot NOT IN ({marks}))) ORDER BY worker, seq LIMIT ?"
)


class _Life(Enum):
    ALIVE = auto()
    #: Its process is there, and does not beat.
    HUNG = auto()
    DEAD = auto()


class Moment(NamedTuple):
    """When a beat was: comparable within one boot of the machine."""

    boot: str
    beat: float


class _Known(NamedTuple):
    """A worker as the file has it."""

    slot: int
    beat: Moment
    lock_inode: int | None
    record: WorkerRecord


class Workers:
    """Those of the store at *path*.

    Beats are measured by the time since the boot, which no change of the clock moves.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot_id()
        self._pid = 0
        self._mine: dict[str, WorkerRecord] = {}
        #: When the row of a worker was last looked at because it claimed.
        self._glanced_at: dict[str, float] = {}
        #: The hung workers whose jobs were taken from them, not yet told.
        self._hung: dict[int, WorkerRecord] = {}

    def open(self) -> None:
        """Begin in this process, also in the child of a fork."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._begin()

    def register_again(self) -> None:
        """Have each worker register with its next claim or beat: the file is another one.

        The slots that they have stay locked, in case the file knows them.
        """
        self._slots.clear()

    def _begin(self) -> None:
        self._locks: LockFile = lock_file(self._path)
        #: The slots of this process' workers. Those without one register again with a beat.
        self._slots: dict[str, int] = {}

    # One's own

    def register(self, db: Connection, worker: WorkerRecord) -> None:
        """Make *worker* known. May be repeated after a rollback."""
        self._mine[worker.id] = worker
        slot = self._take_slot(db, worker.id)
        inode = self._locks.inode if LOCKS_WORK else None
        db.execute(_REGISTER, (slot, *_to_row(worker), *self._moment(), inode))

    def beat(self, db: Connection, worker: str) -> None:
        """Note that *worker* is alive."""
        row = db.one(_LAST_BEAT, (worker,))
        if row is None or row[0] != self._slots.get(worker):
            # It was taken for dead, or has been retired, and works on; or its lock was lost.
            stranger = WorkerRecord(worker, "", 0, self._clock.now())
            self.register(db, self._mine.get(worker, stranger))
            return
        slot, *beat = row
        if self._is_old(Moment(*beat)):
            db.execute(_BEAT, (*self._moment(), slot))

    def glance(self, db: Connection, worker: str) -> None:
        """As :meth:`beat`, for who claims all the time: looks at the row once a second."""
        now = self._clock.monotonic()
        last = self._glanced_at.get(worker)
        if last is None or now - last >= _GLANCE_EVERY or worker not in self._slots:
            self.beat(db, worker)
            self._glanced_at[worker] = now

    def needs_beat(self, db: Connection, worker: str) -> bool:
        """Whether :meth:`beat` would write."""
        row = db.one(_LAST_BEAT, (worker,))
        return row is None or row[0] != self._slots.get(worker) or self._is_old(Moment(*row[1:]))

    def _is_old(self, beat: Moment) -> bool:
        now = self._moment()
        return beat.boot != now.boot or abs(now.beat - beat.beat) >= _BEAT_EVERY

    def retire(self, db: Connection, worker: str) -> None:
        db.execute("DELETE FROM worker WHERE id = ?", (worker,))

    def forget(self, worker: str) -> None:
        """Give back the slot of *worker*, once it is retired."""
        self._mine.pop(worker, None)
        self._glanced_at.pop(worker, None)
        self._free_slot(worker)

    def _take_slot(self, db: Connection, worker: str) -> int:
        """Lock a slot for *worker*, so that it is locked when others see it."""
        mine = self._slots.get(worker)
        if mine is not None and self._locks.is_mine(mine) and db.one(_HAS_SLOT, (mine, worker)):
            return mine
        # The one of a transaction that was rolled back, or of a row that others deleted.
        self._free_slot(worker)
        ((last,),) = db.all(_LAST_SLOT)
        slot = (last or 0) + 1
        while not self._locks.try_take(slot):
            # Somebody's transaction that was rolled back.
            slot += 1
        self._slots[worker] = slot
        return slot

    def _free_slot(self, worker: str) -> None:
        slot = self._slots.pop(worker, None)
        if slot is not None:
            self._locks.release(slot)

    # All

    def alive(self, db: Connection) -> list[WorkerRecord]:
        """Return those that are alive, oldest first."""
        known = _all(db)
        return [each.record for each in known if self._judge(each) is _Life.ALIVE]

    def dead(self, db: Connection) -> list[int]:
        """Return the slots of workers whose jobs others may take."""
        slots: list[int] = []
        for each in _all(db):
            life = self._judge(each)
            if life is _Life.HUNG:
                self._hung[each.slot] = each.record
            if life is not _Life.ALIVE and len(slots) < _MOST_DEAD:
                slots.append(each.slot)
        return slots

    def abandoned(self, jobs: Jobs, limit: int) -> list[JobRecord]:
        """Return running jobs whose worker is dead, or hung."""
        dead = self.dead(jobs.db)
        return jobs.select(abandoned(len(dead)), (*dead, limit))

    def forget_dead(self, db: Connection) -> None:
        """Delete the workers that are dead or hung; their jobs are found without them."""
        for slot in self.dead(db):
            db.execute("DELETE FROM worker WHERE slot = ?", (slot,))

    def look_after_locks(self) -> None:
        """Begin with a new lock file if somebody took ours away; with the next beats it serves.

        Until then nobody takes this process' workers for dead: a slot in another file than one's
        own proves nothing, so their beats have to do.
        """
        if self._locks.is_lost:
            _logger.critical(
                "%s-lock was deleted or replaced while this process uses it. A new one is made "
                "and the work goes on, but for some seconds a death is noticed by missing beats "
                "only. Leave the files beside the store alone",
                self._path,
            )
            self._begin()

    def tell_hung(self) -> None:
        """Log which hung workers had their jobs taken from them."""
        while self._hung:
            _, worker = self._hung.popitem()
            _logger.error(
                "worker %s (process %d on %s) has not beaten for %d s, although its process is "
                "there: stopped, or a task that never lets go of the interpreter. Its jobs run "
                "again elsewhere; what it still reports of them is dropped",
                worker.id,
                worker.pid,
                worker.host,
                HUNG_AFTER,
            )

    def _judge(self, worker: _Known) -> _Life:
        now = self._moment()
        same_boot = worker.beat.boot == now.boot
        silent = now.beat - worker.beat.beat
        if worker.lock_inode is None or worker.lock_inode != self._locks.inode:
            # Its lock is in another file, or it has none.
            return _Life.ALIVE if same_boot and silent <= LEASE else _Life.DEAD
        if not self._is_locked(worker.slot):
            return _Life.DEAD
        # Beats of another boot cannot be compared. That its lock is held proves that there was no
        # reboot: containers give themselves boots of their own.
        return _Life.HUNG if same_boot and silent > HUNG_AFTER else _Life.ALIVE

    def _is_locked(self, slot: int) -> bool:
        # One of our own is never tried: that would succeed, and drop it.
        return self._locks.is_mine(slot) or self._locks.is_taken_elsewhere(slot)

    def _moment(self) -> Moment:
        # Where nothing names the boot, the monotonic time of two boots would look comparable.
        clock = self._clock
        return Moment(self._boot, clock.monotonic() if self._boot else clock.now().timestamp())


def abandoned(dead: int) -> str:
    """Return the condition on jobs whose worker is unknown, or one of so many *dead* slots."""
    return _ABANDONED.format(marks=", ".join("?" * dead))


def _all(db: Connection) -> list[_Known]:
    return [
        _Known(slot, Moment(boot, beat), inode, _to_worker(*record))
        for slot, boot, beat, inode, *record in db.all(_ROWS)
    ]


def _to_row(worker: WorkerRecord) -> Row:
    queues = None if worker.queues is None else json.dumps(worker.queues)
    started_at = to_micros(worker.started_at)
    return (worker.id, worker.host, worker.pid, started_at, queues, worker.threads)


def _to_worker(
    worker: str, host: str, pid: int, started_at: int, queues: str | None, threads: int
) -> WorkerRecord:
    names = None if queues is None else tuple(json.loads(queues))
    return WorkerRecord(worker, host, pid, from_micros(started_at), names, threads)
