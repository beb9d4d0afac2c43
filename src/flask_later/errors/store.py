"""The store could not answer."""

from __future__ import annotations

from dataclasses import dataclass

from .base import LaterError


class StoreError(LaterError):
    """The store could not answer; what was asked for may not have happened."""


@dataclass(eq=False, repr=False)
class StoreBusyError(StoreError):
    """The store stayed locked for the whole time allowed; nothing was stored."""

    waited: float

    def __str__(self) -> str:
        return (
            f"The store was locked by another process for {self.waited:g} s; nothing was stored. "
            f"Is another program holding a transaction on it open? See: flask later doctor"
        )


@dataclass(eq=False, repr=False)
class StoreFullError(StoreError):
    """There is no room for another job on the disk; nothing was stored."""

    address: str
    reason: str
    remedy: str = "make room on that disk, for example with: flask later prune"

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}; nothing was stored. Answer 503, and {self.remedy}"


@dataclass(eq=False, repr=False)
class StoreReadOnlyError(StoreError):
    """This process may read the store and not write to it; nothing was stored."""

    address: str

    def __str__(self) -> str:
        reason = (
            "The server is read-only, or a copy that follows another: give LATER_STORE the address "
            "of the one that is written to"
            if "://" in self.address
            else f"Its disk or its mode is read-only, or it belongs to another user: "
            f"ls -la '{self.address}'*"
        )
        return f"{self.address} cannot be written to; nothing was stored. {reason}"


@dataclass(eq=False, repr=False)
class StoreCorruptError(StoreError):
    """The file is damaged. It is left as it is: most of it can be saved."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.address} is damaged ({self.reason}). Stop all processes that use it, and save "
            f"what can be read of it: flask later recover NEWFILE"
        )


@dataclass(eq=False, repr=False)
class StoreLostError(StoreError):
    """The files of the store are deleted or replaced again and again; nothing was stored."""

    address: str

    def __str__(self) -> str:
        return (
            f"{self.address} was deleted or replaced while this process uses it, and again when it "
            f"was opened anew; nothing was stored. Stop all processes that use it before you put "
            f"another file in its place."
        )


@dataclass(eq=False, repr=False)
class StoreUncertainError(StoreError):
    """The disk failed, also when it was tried again: nobody knows what was stored."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.address}: the disk reports an error ({self.reason}), so it is not known what "
            f"was stored. Look into the system's log: dmesg | tail"
        )


@dataclass(eq=False, repr=False)
class StoreUnavailableError(StoreError):
    """The database is not there, or the connection to it broke off.

    ``uncertain``: that was while it confirmed, so nobody knows what was stored.
    """

    address: str
    reason: str
    uncertain: bool = False

    def __str__(self) -> str:
        stored = "nothing was stored"
        if self.uncertain:
            stored = "it broke off at the end, so it is not known whether anything was stored"
        return (
            f"The database {self.address} cannot be reached ({self.reason}); {stored}. Answer 503 "
            f"and try again; if it stays so, look whether it runs: flask later doctor"
        )


@dataclass(eq=False, repr=False)
class StoreDeniedError(StoreError):
    """The database does not let this user in, or not do what has to be done."""

    address: str
    reason: str

    def __str__(self) -> str:
        return (
            f"The database {self.address} refuses: {self.reason}. Correct the user, the password "
            f"or the name of the database in LATER_STORE, or let that user create tables there."
        )


@dataclass(eq=False, repr=False)
class StoreMismatchError(StoreError):
    """What lies at the store's address was not written by this package, or by a newer one."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"{self.address} is not a store this version can use: {self.reason}."
