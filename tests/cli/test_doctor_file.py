"""``flask later doctor`` on the file of the store: who else is at it, and what lies beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from flask_later.errors import StoreFullError

from .conftest import Read, Run, Shop
from .test_doctor import told

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")

LARGE = "y" * 100_000


@pytest.fixture
def path(shop: Shop, tmp_path: Path) -> Path:
    """The file, made."""
    assert shop.store.durable
    return tmp_path / "later.sqlite3"


@contextmanager
def another(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has printed a line and now waits."""
    command = [sys.executable, "-c", f"{program}\nprint('ready', flush=True)\ninput()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command, *map(str, arguments)], text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


LOCKING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
"""


def test_who_keeps_all_others_from_writing(read: Read, path: Path) -> None:
    """It is named, and what that means."""
    assert "lock: the file can be written to" in told(read("doctor"), "ok")
    with another(LOCKING, path) as process:
        warnings = told(read("doctor"), "warning")
    assert "has had the file locked for more than 1 s" in warnings
    if sys.platform == "linux":
        assert f"lock: process {process.pid} ({sys.executable} -c" in warnings


@on_linux
def test_who_works_on_files_that_were_deleted(read: Read, path: Path) -> None:
    """It stores where nobody looks."""
    shutil.copy(path, path.with_name("copy"))
    with another("import sys\nfile = open(sys.argv[1])", path) as process:
        assert told(read("doctor"), "error") == ""
        path.with_name("copy").replace(path)
        errors = told(read("doctor", code=1), "error")
    assert f"process {process.pid} (" in errors
    assert "works on files that were deleted" in errors


def test_the_wal_of_a_lost_database(read: Read, path: Path) -> None:
    """It was put aside when the database was replaced."""
    path.with_name(f"{path.name}-wal-lost-4711").touch()
    assert f"rm '{path}-wal-lost-4711'" in told(read("doctor"), "warning")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do it")
@pytest.mark.parametrize("endings", [("-lock",), ("", "-wal", "-shm")], ids=["lock", "all-but"])
def test_an_app_that_ran_as_root_as_well(read: Read, path: Path, endings: tuple[str, ...]) -> None:
    """One of the two cannot write. The advice is one, and it leaves nothing to root."""
    for ending in endings:
        os.chown(f"{path}{ending}", 4711, 4711)
    errors = told(read("doctor", code=1), "error")
    mine = [f"'{path}{each}'" for each in ("", "-wal", "-shm", "-lock") if each not in endings]
    assert f"chown -R 4711 {' '.join(mine)}" in errors
    assert errors.count("chown") == 1
    assert "as one user" not in told(read("doctor", code=1), "warning")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do it")
def test_the_user_of_the_app_is_named(read: Read, path: Path) -> None:
    """It is the one to type commands as; nothing has to be changed then."""
    for ending in ("", "-wal", "-shm", "-lock"):
        os.chown(f"{path}{ending}", 4711, 4711)
    warnings = told(read("doctor"), "warning")
    assert "belong to user 4711, and this process to root (0)" in warnings
    assert "as one user: user 4711" in warnings
    assert "chown" not in str(read("doctor"))


def test_a_disk_with_less_room_than_it_has_to_keep(shop: Shop, run: Run, read: Read) -> None:
    """It says with numbers why no job is stored, and so does the error of the enqueue."""
    shop.app.config["LATER_MIN_FREE"] = 2**60
    errors = told(read("doctor", code=1), "error")
    assert "GB free, and LATER_MIN_FREE is 1.07e+09 GB: so no job is stored" in errors
    assert "Make room on that disk, or lower LATER_MIN_FREE" in errors
    with pytest.raises(StoreFullError, match=r"MB left, .* 503, and .* lower LATER_MIN_FREE"):
        shop.enqueue(shop.add, 1, 2)


def test_tables_of_somebody_else(read: Read, path: Path) -> None:
    """The app's own data, say, in the file of the jobs."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE customer (id)")
        db.execute("CREATE INDEX customer_id ON customer (id)")
    assert "that are not ours: customer, customer_id" in told(read("doctor"), "warning")


# LATER_FILES


def test_the_folder_of_large_arguments(shop: Shop, read: Read, path: Path) -> None:
    """How many there are, how large, where, and how many belong to no job."""
    shop.enqueue(shop.fail, LARGE)
    folder = path.with_name("later-files") / shop.store.identity
    (folder / ("f" * 32)).mkdir()
    fine = told(read("doctor"), "ok")
    assert (
        f"large arguments and results of 2 jobs, 97.7 kB, in {folder}; 1 belong to no job" in fine
    )


def test_a_large_argument_that_is_missing(shop: Shop, read: Read, path: Path) -> None:
    """A job would fail for it."""
    job = shop.enqueue(shop.fail, LARGE)
    shutil.rmtree(path.with_name("later-files"))
    warnings = told(read("doctor"), "warning")
    assert f"the files of 1 jobs are not there, such as {job}" in warnings


def test_a_folder_that_cannot_be_written_to(read: Read, path: Path) -> None:
    """Enqueues with large arguments would fail."""
    path.with_name("later-files").write_text("no folder")
    assert "LATER_FILES: this process may not write to" in told(read("doctor", code=1), "error")


# Another file

ELSEWHERE = """
import sys
from flask import Flask
from flask_later import Later
app = Flask("shop", instance_path=sys.argv[1])
later = Later(app)
later.start(app)
"""


@on_linux
def test_who_of_the_same_app_keeps_jobs_in_another_file(
    shop: Shop, read: Read, path: Path, tmp_path: Path
) -> None:
    """A mistake if nobody works on ours; otherwise two sites may run the same code."""
    with another(ELSEWHERE, tmp_path / "elsewhere") as process:
        warnings = told(read("doctor"), "warning")
        assert f"process {process.pid} (" in warnings
        assert f"LATER_STORE = 'sqlite:///{tmp_path}/elsewhere/later.sqlite3'" in warnings
        shop.hire()
        findings = read("doctor")
    assert "another file" not in told(findings, "warning")
    assert f"another file: {tmp_path}/elsewhere/later.sqlite3" in told(findings, "ok")


OWN_DATABASE = """
import sqlite3
db = sqlite3.connect(sys.argv[1] + "/shop.sqlite3")
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE customer (id)")
"""


@on_linux
def test_other_apps_have_files_of_their_own(read: Read, path: Path, tmp_path: Path) -> None:
    """And a process of this one that uses this file may have a database of its own besides."""
    with (
        another(ELSEWHERE.replace('"shop"', '"other"'), tmp_path / "elsewhere"),
        another(ELSEWHERE + OWN_DATABASE, tmp_path),
    ):
        assert "another file" not in str(read("doctor"))


# A store that cannot be opened


def test_what_is_seen_of_a_store_that_cannot_be_opened(
    shop: Shop, run: Run, tmp_path: Path
) -> None:
    """The reason comes once, and then what may have led to it."""
    (tmp_path / "later.sqlite3").write_text("no database at all" * 1000)
    output = run("doctor", code=1).output
    assert output.count("it is not a SQLite file") == 1
    assert "disk: " in output


@pytest.mark.parametrize("kind", ["text", "database", "folder"])
def test_no_advice_for_what_is_not_ours(run: Run, tmp_path: Path, kind: str) -> None:
    """It would lock others out of their file, or recover jobs that never were in it."""
    path = tmp_path / "later.sqlite3"
    if kind == "folder":
        path.mkdir(mode=0o755)
    elif kind == "text":
        path.write_text("no database at all" * 1000)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE customer (id)")
    output = run("doctor", code=1).output
    assert "Give the jobs a file of their own: LATER_STORE = 'sqlite:///later.sqlite3'." in output
    assert "chmod" not in output
    assert "recover" not in output
