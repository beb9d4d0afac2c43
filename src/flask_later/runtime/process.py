"""What runs for one app in one process."""

from __future__ import annotations

from typing import NamedTuple

from flask_later.runtime.callbacks import Callbacks
from flask_later.runtime.maintenance import Maintenance
from flask_later.runtime.service_definitions import ServiceDefinitions
from flask_later.runtime.services import Services
from flask_later.runtime.worker import Worker
from flask_later.runtime.worker_options import WorkerOptions
from flask_later.tasks.state import AppState


class Process(NamedTuple):
    """Its parts, as they are started and stopped."""

    worker: Worker
    callbacks: Callbacks
    services: Services
    maintenance: Maintenance


def make_process(
    state: AppState, services: ServiceDefinitions, options: WorkerOptions | None = None
) -> Process:
    """Make what runs for an app in one process; nothing of it has started."""
    settings = state.settings
    worker = Worker(state, options or WorkerOptions.of(settings))
    return Process(
        worker,
        Callbacks(
            state.app,
            state.clock,
            threads=settings.callback_threads,
            limit=settings.max_callbacks,
            manual=state.parts.manual,
        ),
        Services(state.app, services, state.clock),
        Maintenance(state, worker),
    )
