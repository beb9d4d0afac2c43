"""The files of jobs: whole or not there, for their owner only, and gone with their job."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from flask_later.errors import StoreError, StoreFullError
from flask_later.stores.files import Files

JOB, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "later-files" / "store-1"


@pytest.fixture
def files(folder: Path) -> Files:
    return Files(folder)


def content(files: Files, job_id: str, kind: str) -> bytes:
    with files.open(job_id, kind) as file:
        return file.read()


def age(folder: Path, seconds: float) -> None:
    """Make *folder* look as if nobody had put anything there for a while."""
    then = time.time() - seconds
    os.utime(folder, (then, then))


def test_a_file_comes_back_as_it_was(files: Files) -> None:
    """In pieces or as a whole; each kind is a file of its own."""
    files.put(JOB, "payload", [b"one", b"", b"two"])
    files.put(JOB, "upload-0", [b"\0" * 100_000])
    files.put(OTHER, "payload", [])
    assert content(files, JOB, "payload") == b"onetwo"
    assert content(files, JOB, "upload-0") == b"\0" * 100_000
    assert content(files, OTHER, "payload") == b""


def test_a_file_never_changes(files: Files) -> None:
    """Who puts it again has lost the answer to the first time."""
    files.put(JOB, "payload", [b"first"])
    files.put(JOB, "payload", [b"second"])
    assert content(files, JOB, "payload") == b"first"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_the_files_are_for_their_owner_only(files: Files, tmp_path: Path) -> None:
    """The folders as well, whatever the umask."""
    before = os.umask(0)
    try:
        files.put(JOB, "payload", [b"secret"])
    finally:
        os.umask(before)
    modes = {
        path.relative_to(tmp_path).parts[-1]: stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {"later-files": 0o700, "store-1": 0o700, JOB: 0o700, "payload": 0o600}


def test_a_file_that_cannot_be_finished_is_not_there(files: Files, folder: Path) -> None:
    """Nor is anything else of it; the next try may succeed."""

    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreFullError, match=r"payload: No space left .* nothing was"):
        files.put(JOB, "payload", chunks())
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    files.put(JOB, "payload", [b"all"])
    assert content(files, JOB, "payload") == b"all"


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    """It names the file and the setting."""
    (tmp_path / "later-files").write_text("a file")
    with pytest.raises(StoreError, match=r"later-files.*LATER_FILES = "):
        Files(tmp_path / "later-files" / "store-1").put(JOB, "payload", [b"x"])


@pytest.mark.parametrize("kind", ["", ".", "..", "../x", "a/b", "Payload", "a" * 65, "-x", "a\0"])
def test_a_kind_is_a_plain_name(files: Files, kind: str) -> None:
    """Whatever stands in a row, no other file is read."""
    with pytest.raises(ValueError, match="no file of a job"):
        files.path(JOB, kind)


@pytest.mark.parametrize("job_id", ["", "..", "a" * 31, "../" + "a" * 29])
def test_only_jobs_have_files(files: Files, job_id: str) -> None:
    """An id is 32 hex digits."""
    with pytest.raises(ValueError, match="no file of a job"):
        files.path(job_id, "payload")


def test_all_files_go_with_their_job(files: Files, folder: Path) -> None:
    """Also those that nobody here knows the kind of; others stay."""
    for kind in ("payload", "result-3", "upload-0"):
        files.put(JOB, kind, [b"x"])
    files.put(OTHER, "payload", [b"x"])
    files.delete([JOB, "c" * 32, "../x"])
    assert [path.name for path in folder.iterdir()] == [OTHER]


def test_a_sweep_deletes_the_files_of_jobs_that_are_gone(files: Files, folder: Path) -> None:
    """After an hour: before that their job may be about to be stored."""
    new, old, kept = "c" * 32, "d" * 32, "e" * 32
    for job_id in (new, old, kept):
        files.put(job_id, "payload", [b"x"])
    (folder / "notes").mkdir()
    age(folder / new, 3500)
    for path in (folder / old, folder / kept, folder / "notes"):
        age(path, 3700)
    asked: list[str] = []

    def known(job_ids: Collection[str]) -> Collection[str]:
        asked.extend(job_ids)
        return {kept}

    files.sweep(time.time(), known)
    assert sorted(asked) == [old, kept]
    assert {path.name for path in folder.iterdir()} == {new, kept, "notes"}


def test_a_sweep_of_nothing_finds_nothing(files: Files) -> None:
    """The folder comes with the first file."""
    files.sweep(time.time(), lambda _: ())
    files.delete([JOB])
