"""What is wrong with a file, for ``flask later doctor``. Nothing is changed."""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import NamedTuple

from flask_later.core.decoding import UNREADABLE
from flask_later.core.store import Finding
from flask_later.errors import StoreBusyError, StoreCorruptError, StoreError
from flask_later.stores.files import Files

from . import reads
from .connection import Connection
from .file_system import REMEDY, Room, kind_of
from .owners import owners, rightful_owner
from .preparing import name_of
from .processes import elsewhere, is_store, on_deleted_files, writers
from .schema import TABLES
from .trouble import translated

#: Before it a WAL could, very rarely, be reset under a reader's feet.
_SAFE_SQLITE = (3, 51, 3)
_LARGE_WAL = 64 * 2**20
_LITTLE_SPACE, _NO_SPACE = 2**30, 2**20
_MOST_FAULTS = 5
#: The most jobs whose files are looked for.
_MOST_FILES = 10_000
_REFERRING = """
    SELECT id, substr(payload, 1, 100), substr(result, 1, 100) FROM job
    WHERE substr(payload, 1, 1) = ? OR substr(result, 1, 1) = ? LIMIT ?
"""


#: Seconds for which somebody else may write before that is told.
_PATIENCE = 1.0
_NAMES = frozenset(name_of(statement) for statement in TABLES)

Read = Callable[[], AbstractContextManager[Connection]]


class Patient(NamedTuple):
    """What is examined: a store that may be open, or could not be opened."""

    path: Path
    read: Read
    #: None if it could not be opened.
    files: Files | None
    #: How many workers are alive.
    workers: Callable[[], int]
    room: Room
    #: With what the names of the sockets begin on which processes of this app listen.
    sockets: str


def examine(patient: Patient) -> Iterator[Finding]:
    """Yield findings, the quick ones first; one that cannot be made is a finding too."""
    yield from _sqlite()
    if not patient.path.exists():
        yield Finding("error", f"file: {patient.path} is not there")
        return
    # Advice on a file of ours would harm one of somebody else.
    is_foreign = patient.files is None and _is_foreign(patient.path)
    for part in (_space,) if is_foreign else _PARTS:
        try:
            yield from part(patient)
        except (StoreError, OSError) as error:
            yield Finding("error", str(error))


def _is_foreign(path: Path) -> bool:
    """Whether it can be seen that this is nothing of ours. Not for a file that is open here: what
    this process has locked of it would be unlocked.
    """
    return path.is_dir() or (
        os.access(path, os.R_OK) and path.stat().st_size > 0 and not is_store(path)
    )


def _sqlite() -> Iterator[Finding]:
    here = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        yield Finding(
            "ok", f"{here}; 3.51.3 and later mend a rare fault of checkpoints, if you can choose"
        )
    else:
        yield Finding("ok", here)


def _file(patient: Patient) -> Iterator[Finding]:
    path = patient.path
    facts = path.stat()
    kind = kind_of(path)
    yield Finding("ok", f"file: {_size(facts.st_size)}" + (f", on {kind}" if kind else ""))
    if os.name != "posix":
        return
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            "warning",
            "other users of this machine may read the file, and so the arguments of all jobs",
            f"chmod 600 '{path}'",
        )
    yield from owners(path, None if patient.files is None else patient.files.folder)


def _beside(patient: Patient) -> Iterator[Finding]:
    """What lies beside the file: files of another database, or of another program."""
    path = patient.path
    for process in on_deleted_files(path):
        yield Finding(
            "error",
            f"{process} works on files that were deleted: what it stores nobody else sees",
            "Restart it.",
        )
    for lost in sorted(path.parent.glob(f"{glob.escape(path.name)}-wal-lost-*")):
        yield Finding(
            "warning",
            f"{lost} is the WAL of a database that was taken away or replaced while it was in use",
            f"Put the two back together elsewhere if you miss jobs, or delete it: rm '{lost}'",
        )
    journal = Path(f"{path}-journal")
    if journal.exists() and journal.stat().st_size:
        yield Finding(
            "warning",
            f"{journal} is of another program, which writes to the file in a mode of its own",
            f"Look for it: fuser '{path}'",
        )


def _space(patient: Patient) -> Iterator[Finding]:
    path = patient.path
    free = shutil.disk_usage(path.parent).free
    told = f"disk: {_size(free)} free"
    if free < patient.room.least:
        yield Finding(
            "error",
            f"{told}, and LATER_MIN_FREE is {_size(patient.room.least)}: so no job is stored, and "
            f"enqueue raises StoreFullError",
            f"{REMEDY[0].upper()}{REMEDY[1:]}.",
        )
    elif free < _LITTLE_SPACE:
        advice = "Free some space; flask later prune deletes finished jobs."
        yield Finding("error" if free < _NO_SPACE else "warning", told, advice)
    else:
        yield Finding("ok", told)
    try:
        wal = Path(f"{path}-wal").stat().st_size
    except OSError:
        wal = 0
    if wal > _LARGE_WAL:
        yield Finding(
            "warning",
            f"the WAL has {_size(wal)}: somebody reads without an end, and holds it up",
            "Look for programs that have the file open: lsof " + f"'{path}'",
        )
    else:
        yield Finding("ok", f"WAL: {_size(wal)}")


def _lock(patient: Patient) -> Iterator[Finding]:
    """Whether somebody keeps all others from writing."""
    path = patient.path
    try:
        with closing(Connection(path, _PATIENCE)) as db, translated(path, _PATIENCE):
            db.begin(full=False)
            db.roll_back()
    except StoreBusyError:
        who = ", ".join(map(str, writers(path))) or "another program"
        yield Finding(
            "warning",
            f"lock: {who} has had the file locked for more than {_PATIENCE:g} s; meanwhile nothing "
            f"is stored, and nothing claimed",
            f"End its transaction. Who has the file open: fuser '{path}'",
        )
    else:
        yield Finding("ok", "lock: the file can be written to")


def _tables(patient: Patient) -> Iterator[Finding]:
    # Nothing is told while a transaction is open: who reads may take his time.
    with patient.read() as db:
        ((mode,),) = db.all("PRAGMA journal_mode")
        ((oldest_code,),) = db.all("PRAGMA user_version")
        tables = db.one("SELECT value FROM meta WHERE key = 'tables'")
        ((free,),) = db.all("PRAGMA freelist_count")
        ((size,),) = db.all("PRAGMA page_size")
        there = db.all("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite@_%' ESCAPE '@'")
    if strangers := sorted({name for (name,) in there} - _NAMES):
        yield Finding(
            "warning",
            f"the file holds tables or indexes that are not ours: {', '.join(strangers[:10])}",
            "Give the jobs a file of their own: a transaction of another program holds them up.",
        )
    if mode != "wal":
        yield Finding(
            "error",
            f"the journal mode is {mode!r}, so readers and writers wait for each other",
            "Somebody has changed it. Restart the processes of the app: they set it again.",
        )
    yield Finding(
        "ok",
        f"tables: version {tables[0] if tables else '?'}, code from version {oldest_code} on; "
        f"{_size(free * size)} of the file can be used again",
    )


def _large(patient: Patient) -> Iterator[Finding]:
    """The folder of large arguments and results, LATER_FILES."""
    files = patient.files
    if files is None:
        return
    folder = files.folder
    if not _is_writable(folder):
        yield Finding(
            "error",
            f"LATER_FILES: this process may not write to {folder}",
            f"Let it: chown -R {_user(patient)} '{folder.parent}'",
        )
    jobs, size = files.measure()
    strays = files.strays(lambda ids: _known(patient, ids))
    told = f"LATER_FILES: large arguments and results of {jobs:,} jobs, {_size(size)}, in {folder}"
    if strays:
        told += f"; {strays:,} belong to no job, and are deleted an hour after they were made"
    yield Finding("ok", told)
    if missing := _missing(patient, files):
        yield Finding(
            "warning",
            f"LATER_FILES: the files of {len(missing):,} jobs are not there, such as {missing[0]}",
            "Is LATER_FILES the same for all processes? Put the files back, and retry the jobs.",
        )


def _user(patient: Patient) -> int | str:
    """Return whose the folder should be."""
    if os.name != "posix":
        return "USER"
    return rightful_owner(patient.path, None if patient.files is None else patient.files.folder)


def _is_writable(folder: Path) -> bool:
    """Whether files can be put into *folder*, which may have to be made."""
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def _known(patient: Patient, job_ids: Collection[str]) -> Collection[str]:
    with patient.read() as db:
        return reads.existing(db, job_ids)


def _missing(patient: Patient, files: Files) -> list[str]:
    """Return jobs whose row refers to a file that is not there."""
    with patient.read() as db:
        rows = db.all(_REFERRING, (UNREADABLE, UNREADABLE, _MOST_FILES))
    missing: list[str] = []
    for job_id, *texts in rows:
        kinds = (text[1:].partition(" ")[0] for text in texts if text and text[0] == UNREADABLE)
        if not all(files.has(job_id, kind) for kind in kinds):
            missing.append(job_id)
    return missing


def _elsewhere(patient: Patient) -> Iterator[Finding]:
    """Processes of the same code that keep their jobs in another file."""
    others = elsewhere(patient.path, patient.sockets)
    for process, file in others:
        told = f"{process} runs the same app, and keeps its jobs in another file: {file}"
        if patient.workers():
            # Two sites may well run the same code.
            yield Finding("ok", told)
        else:
            yield Finding(
                "warning",
                f"{told}. No process works on {patient.path}",
                f"What one stores the other never sees. If they should share their jobs, set one "
                f"absolute path for both: LATER_STORE = 'sqlite:///{file}'",
            )


def _integrity(patient: Patient) -> Iterator[Finding]:
    path = patient.path
    try:
        with patient.read() as db:
            faults = [str(fault) for (fault,) in db.all(f"PRAGMA quick_check({_MOST_FAULTS})")]
    except StoreCorruptError as error:
        faults = [error.reason]
    if faults == ["ok"]:
        yield Finding("ok", "integrity: every page is as it should be")
        return
    yield Finding(
        "error",
        f"the file is damaged: {'; '.join(faults)}",
        f"Stop all processes, and save what can be read: flask later recover '{path}.new'",
    )


def _size(number: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"


#: The quick ones first.
_PARTS = (_file, _beside, _space, _lock, _tables, _large, _elsewhere, _integrity)
