"""Whose the files of a store are, for ``flask later doctor``: all of them have to be one user's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flask_later.core.store import Finding

#: What lies beside the file, with our locks and what SQLite keeps.
BESIDE = ("-wal", "-shm", "-lock")
ROOT = 0


def owners(path: Path, folder: Path | None) -> Iterator[Finding]:
    """Yield what is wrong with whose the file at *path* is, what lies beside it, and *folder*.

    One piece of advice for all of it: two would contradict each other.
    """
    whose = _whose(path, folder)
    here, users = os.geteuid(), {*whose.values()}
    if len(users) > 1:
        yield _mixed(whose, rightful_owner(path, folder))
    elif here not in users:
        (user,) = users
        yield Finding(
            "warning" if _may_write(path) else "error",
            f"the files of the store belong to {name_of(user)}, and this process to "
            f"{name_of(here)}" + ("" if _may_write(path) else ", which may not write to them"),
            f"Run all processes of the app, and this command, as one user: {name_of(user)}.",
        )
    elif not _may_write(path):
        yield Finding(
            "error",
            "this process may not write to the file and its folder",
            f"Let it: chmod u+w '{path}', and chown {here} '{path.parent}'",
        )


def _mixed(whose: Mapping[Path, int], user: int) -> Finding:
    strays = [each for each, owner in whose.items() if owner != user]
    told = ", ".join(f"{each} to {name_of(whose[each])}" for each in strays)
    listed = " ".join(f"'{each}'" for each in strays)
    return Finding(
        "error",
        f"the files of the store belong to {name_of(user)}, but {told}: the app has run as both, "
        f"and one of them cannot write",
        f"Stop all processes, run them as one user, {name_of(user)}, and type: "
        f"chown -R {user} {listed}",
    )


def rightful_owner(path: Path, folder: Path | None) -> int:
    """Return whose all should be: an app runs as root by a slip of the hand, mostly."""
    whose = _whose(path, folder)
    here, owner = os.geteuid(), whose[path]
    if here in whose.values() and here != ROOT:
        return here
    return owner if owner != ROOT else max(whose.values())


def _whose(path: Path, folder: Path | None) -> dict[Path, int]:
    files = [path, *(Path(f"{path}{ending}") for ending in BESIDE)]
    files += [] if folder is None else [folder]
    return {each: each.stat().st_uid for each in files if each.exists()}


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def name_of(user: int) -> str:
    """Return what *user* is called, with the number."""
    try:
        import pwd

        return f"{pwd.getpwuid(user).pw_name} ({user})"
    except (ImportError, KeyError):
        return f"user {user}"
