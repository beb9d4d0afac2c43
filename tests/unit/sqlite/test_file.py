"""Where the SQLite store may lie, what it refuses, and how an older file becomes today's."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.shop import PATIENCE, Shop
from tests.unit.sqlite.files import opened, raw

from flask_later.core.clock import SystemClock
from flask_later.core.exchange import Want
from flask_later.errors import StoreFullError, StoreMismatchError, UnsupportedError
from flask_later.stores.sqlite import SQLiteStore, file_system, preparing
from flask_later.stores.sqlite.file_system import Mount, find_mount
from flask_later.stores.sqlite.schema import PAGE_SIZE, VERSION
from flask_later.testing.records import START, make_record

TABLES_V1 = Path(__file__).with_name("tables_v1.sql")
JOB_V1 = """
    INSERT INTO job (id, task, queue, payload, state, created_at, run_at, rank, priority, context,
        fence, attempts, failures, crashes, releases)
    VALUES ('0123456789abcdef0123456789abcdef', 'shop.tasks.send', 'default', '{}', 'queued',
        0, 0, 0, 0, '{}', 0, 0, 0, 0, 0)
"""


def shape(path: Path) -> dict[str, object]:
    """Return the tables with their columns, and the statements of everything else."""
    with raw(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        return {
            name: sorted(column[1] for column in connection.execute(f"PRAGMA table_info({name})"))
            if kind == "table"
            else sql
            for kind, name, sql in rows
        }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Versions


@pytest.fixture
def old(path: Path) -> Path:
    """A file of version 1, with a job."""
    with raw(path) as connection:
        connection.executescript(TABLES_V1.read_text())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(JOB_V1)
    return path


def test_a_file_of_version_1_becomes_todays(old: Path, tmp_path: Path) -> None:
    """With the same tables, columns and indexes as a new one."""
    with closing(opened(old)) as store, closing(opened(tmp_path / "new.sqlite3")):
        assert store.identity == "sqlite-0123456789abcdef"
    assert shape(old) == shape(tmp_path / "new.sqlite3")
    with raw(old) as connection:
        assert preparing.tables_version(connection) == VERSION
        assert preparing.read_header(connection).oldest_code <= VERSION


def test_an_index_of_version_5_becomes_todays(path: Path, tmp_path: Path) -> None:
    """It has the same name, and another condition."""
    for each in (path, tmp_path / "new.sqlite3"):
        opened(each).close()
    with raw(path) as connection:
        connection.execute("DROP INDEX job_finished")
        connection.execute("CREATE INDEX job_finished ON job (state) WHERE state IN ('failed')")
        connection.execute("UPDATE meta SET value = '5' WHERE key = 'tables'")
    opened(path).close()
    assert shape(path) == shape(tmp_path / "new.sqlite3")


def test_the_jobs_of_an_older_file_are_kept(old: Path) -> None:
    """They run, and new ones are stored beside them."""
    with closing(opened(old)) as store:
        store.add([make_record()])
        claimed = store.exchange("w", (), Want(2)).claimed
        assert len(claimed) == 2
        assert claimed[0].id == "0123456789abcdef" * 2


def test_a_failed_migration_leaves_the_file_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one transaction; the next process tries again."""
    before = shape(old)
    with monkeypatch.context() as patch:
        patch.setitem(preparing.MIGRATIONS, VERSION, (*preparing.MIGRATIONS[VERSION], "oops"))
        with pytest.raises(Exception, match="oops"):
            opened(old)
    assert shape(old) == before
    with closing(opened(old)) as store:
        assert len(store.find().records) == 1


def test_newer_tables_that_allow_this_code_are_used(path: Path) -> None:
    """Old and new processes work side by side during a deploy."""
    with closing(opened(path)) as store:
        store.add([make_record()])
    with raw(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'tables'")
        connection.execute("ALTER TABLE job ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'")
        connection.execute("CREATE TABLE more (name TEXT)")
    with closing(opened(path)) as store:
        store.add([make_record()])
        assert len(store.exchange("w", (), Want(2)).claimed) == 2
    with raw(path) as connection:
        assert preparing.tables_version(connection) == 99


def test_tables_that_need_newer_code_are_refused(path: Path) -> None:
    """Both versions are named, and the line to type; the file is not touched."""
    with closing(opened(path)):
        pass
    with raw(path) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'tables'")
        connection.execute("PRAGMA user_version = 98")
    before = digest(path)
    with pytest.raises(StoreMismatchError) as caught:
        opened(path)
    assert "tables are of version 99 and need code of version 98" in str(caught.value)
    assert f"here is {VERSION}" in str(caught.value)
    assert "pip install --upgrade flask-later" in str(caught.value)
    assert digest(path) == before


def test_the_apps_own_database_is_refused(path: Path) -> None:
    """The error says how to give the jobs a file of their own."""
    with raw(path) as connection:
        connection.execute("CREATE TABLE job (id TEXT)")
    before = digest(path)
    with pytest.raises(StoreMismatchError, match="LATER_STORE = 'sqlite:///later"):
        opened(path)
    assert digest(path) == before


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 1))
    with pytest.raises(UnsupportedError, match=r"older than 3\.31"):
        opened(path)
    assert not path.exists()


# The disk

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
files:/srv /srv nfs4 rw 0 0
/dev/vdb /srv/local xfs rw 0 0
//host/c /mnt/my\040disk 9p rw 0 0
tmpfs /twice tmpfs rw 0 0
share /twice cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("file", "folder", "kind"),
    [
        ("/var/lib/later.sqlite3", "/", "ext4"),
        ("/srv/later.sqlite3", "/srv", "nfs4"),
        ("/srv/local/later.sqlite3", "/srv/local", "xfs"),
        ("/srvlocal/later.sqlite3", "/", "ext4"),
        ("/mnt/my disk/later.sqlite3", "/mnt/my disk", "9p"),
        ("/twice/later.sqlite3", "/twice", "cifs"),
    ],
)
def test_the_nearest_mount_counts(file: str, folder: str, kind: str) -> None:
    """And of two at one place the one on top."""
    assert find_mount(Path(file), MOUNTS) == Mount(folder, kind)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuse"])
def test_a_remote_file_system_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With the reason and the line to type; nothing is written there."""
    (tmp_path / "mounts").write_text(f"x / ext4 rw 0 0\nx {path.parent} {kind} rw 0 0\n")
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "mounts")
    with pytest.raises(StoreMismatchError) as caught:
        opened(path)
    assert f"it lies on {kind} (mounted at {path.parent})" in str(caught.value)
    assert "LATER_STORE = 'sqlite:////var/lib/shop/later.sqlite3'" in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("mounts", ["x / fuse.fuse-overlayfs rw 0 0", "x / btrfs rw", "", "odd\n"])
def test_a_local_file_system_is_used(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str
) -> None:
    """Also where the kernel does not tell."""
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "mounts")
    with closing(opened(path)) as store:
        assert store.add([make_record()])[0].created


def test_jobs_are_refused_before_the_disk_is_full(path: Path) -> None:
    """What runs is still settled, and with room again jobs are stored."""
    free = shutil.disk_usage(path.parent).free
    store = SQLiteStore(path, SystemClock(), min_free=2 * free)
    store.open()
    for add in (lambda: store.add([make_record()]), lambda: store.tick("d", START, make_record())):
        with pytest.raises(StoreFullError, match=r"MB left, LATER_MIN_FREE is [\d,]+ MB"):
            add()
    assert store.find().records == []
    assert store.exchange("w", (), Want(1)).claimed == []
    store._room = file_system.Room(path.parent, free // 2)
    assert store.add([make_record()])[0].created
    store.close()


def test_an_app_says_what_the_disk_has_to_keep_free(path: Path) -> None:
    """The error is raised where the job is enqueued, which can answer 503."""
    with Shop(STORE=f"sqlite:///{path}", MIN_FREE=10**18, EMBEDDED=False) as shop:
        task = shop.later.task(name="task")(print)
        with pytest.raises(StoreFullError, match="Answer 503"):
            shop.enqueue(task)


@pytest.mark.parametrize(("durability", "mode"), [("power", 2), ("process", 1)])
def test_an_app_says_what_a_job_has_to_survive(path: Path, durability: str, mode: int) -> None:
    """A power cut, with FULL syncs, or the end of a process."""
    with Shop(STORE=f"sqlite:///{path}", DURABILITY=durability) as shop:
        # Only stores: the threads of a process that serves write with NORMAL.
        shop.__dict__["app"] = shop.make_app()
        shop.enqueue(shop.later.task(name="task")(print))
        store: Any = shop.state.store
        assert store._writer._connect().all("PRAGMA synchronous") == [(mode,)]


def test_a_file_keeps_the_pages_that_it_was_made_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ones have small pages, since they are what a commit writes."""
    monkeypatch.setattr(preparing, "PAGE_SIZE", 4096)
    for file in (path, path.with_name("new"), path):
        with closing(opened(file)) as store, store._read() as db:
            assert db.all("PRAGMA page_size") == [(4096 if file == path else PAGE_SIZE,)]
        monkeypatch.undo()


def test_the_disk_is_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs are stored."""
    looks: list[Path] = []
    look = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: looks.append(folder) or look(folder))
    room = file_system.Room(path.parent, 1)
    for _ in range(100):
        room.require(path)
    assert 1 <= len(looks) <= 2


# Who may read and write

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@posix
def test_new_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    """Whatever the umask; those that are there keep their modes."""
    before = os.umask(0)
    try:
        tmp_path.chmod(0o755)
        with closing(opened(tmp_path / "a" / "b" / "later.sqlite3")):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "a" / "b", tmp_path / "a")]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@posix
@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o644, 0), (0o660, 1), (0o602, 1)])
def test_a_file_that_others_can_write_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: int
) -> None:
    """Whoever can write there can have any task run."""
    with closing(opened(path)):
        pass
    path.chmod(mode)
    with closing(opened(path)):
        warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == warned
    assert all(f"chmod 600 '{path}'" in each.getMessage() for each in warnings)


@posix
def test_a_link_leads_to_the_same_store(path: Path, tmp_path: Path) -> None:
    """Its lock and its WAL lie beside the file, for all who come by whatever name."""
    (tmp_path / "data").mkdir()
    path.symlink_to(tmp_path / "data" / "real.sqlite3")
    with (
        closing(opened(path)) as linked,
        closing(opened(tmp_path / "data" / "real.sqlite3")) as real,
    ):
        linked.add([make_record()])
        assert len(real.find().records) == 1
        names = {file.name for file in (tmp_path / "data").iterdir()}
    assert names == {f"real.sqlite3{end}" for end in ("", "-wal", "-shm", "-lock")}
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "data"}


def test_the_log_says_which_file_it_is(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So that the logs of web and worker show whether they share it."""
    caplog.set_level(logging.INFO)
    with closing(opened(path)) as store:
        (record,) = [each for each in caplog.records if "later.sqlite3" in each.getMessage()]
    assert str(path) in record.getMessage()
    assert store.identity in record.getMessage()
    assert sqlite3.sqlite_version in record.getMessage()


def test_threads_that_store_their_first_jobs_together_find_the_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes while another looks does not take what is not known yet for nothing."""
    look = shutil.disk_usage
    looking, come = threading.Event(), threading.Event()

    def look_slowly(folder: Path) -> Any:
        looking.set()
        assert come.wait(PATIENCE)
        return look(folder)

    room = file_system.Room(path.parent, 1)
    monkeypatch.setattr(shutil, "disk_usage", look_slowly)
    first = threading.Thread(target=room.require, args=(path,))
    first.start()
    assert looking.wait(PATIENCE)
    monkeypatch.setattr(shutil, "disk_usage", look)
    room.require(path)
    come.set()
    first.join(PATIENCE)
