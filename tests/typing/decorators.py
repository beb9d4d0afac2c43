"""What mypy and pyright make of the other decorators. Read by them, never run."""

from __future__ import annotations

from typing import assert_type

from flask import Blueprint

from flask_later import Exchange, Later, QueueService, Service

later = Later()
site = Blueprint("site", __name__)


# A service stays the class, or the function, that it was.


@later.service
class Pulse(Service):
    beats = 0

    def handle(self) -> None:
        self.beats += 1
        self.wait(1.0)


@later.service(name="mailer", every=2.5)
class Mailer(QueueService[str]):
    def handle(self, item: str) -> None:
        print(item.upper())


@later.service(every=60)
def tidy() -> None: ...


def services() -> None:
    assert_type(Pulse().beats, int)
    assert_type(tidy(), None)
    later.services[Mailer].put("a")
    later.services[Mailer].put(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# So does what runs after responses.


@later.after_response
def log_exchange(exchange: Exchange) -> int:
    return exchange.status_code or 0


@later.after_response(blueprint=site, always=True)
def count(amount: int = 1) -> str:
    return str(amount)


def audit(address: str, *, times: int = 1) -> None: ...


def callbacks(exchange: Exchange) -> None:
    assert_type(log_exchange(exchange), int)
    assert_type(count(), str)
    later.after_this_response(audit, "::1", times=2).always()
    later.after_this_response(audit)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    later.after_this_response(audit, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# What crosses over.


def current_tenant() -> str | None: ...


def set_tenant(tenant: str) -> None: ...


later.carry("tenant", capture=current_tenant, restore=set_tenant)
