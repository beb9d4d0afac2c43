"""Signals: what happened, in the past tense; the sender is always the Flask app.

Receivers get keyword arguments only, and must accept ``**extra`` since later versions add some.
A receiver that raises is logged and never harms the job, nor the other receivers. Those about
jobs carry ``job``, a :class:`~flask_later.core.job.JobRecord` as it was stored.
"""

from __future__ import annotations

from threading import current_thread, main_thread
from typing import Any

from blinker import NamedSignal, Namespace

from flask_later.logs import Log

_namespace = Namespace()
_logger = Log(__name__)

#: A job was stored. Sent in the process that enqueued it.
job_enqueued = _namespace.signal("job-enqueued")
#: An attempt begins, on the worker's thread, inside the app context.
job_started = _namespace.signal("job-started")
#: The function returned and its result is stored.
job_succeeded = _namespace.signal("job-succeeded")
#: The job failed for good; ``exception`` is what was raised, or None.
job_failed = _namespace.signal("job-failed")
#: An attempt did not finish the job, it will run again; ``exception`` is what was raised.
job_retried = _namespace.signal("job-retried")
#: A running attempt was given back because its process stops.
job_released = _namespace.signal("job-released")
#: An attempt was taken from a worker that died, and the job waits again. Sent by who found it.
job_rescued = _namespace.signal("job-rescued")
#: The job was cancelled, before or while it ran, or because nobody had begun it in time.
job_cancelled = _namespace.signal("job-cancelled")
#: This code does not know the task, or its arguments no longer fit; ``reason`` says which.
job_parked = _namespace.signal("job-parked")
#: An outcome came too late: another attempt owns the job. Carries ``claim``.
outcome_dropped = _namespace.signal("outcome-dropped")
#: A callback after a response raised; carries ``callback`` (its name) and ``exception``.
callback_failed = _namespace.signal("callback-failed")
#: Callbacks were not run; carries ``callbacks`` (names, bounded), ``count`` and ``reason``.
callbacks_dropped = _namespace.signal("callbacks-dropped")
#: A service raised; carries ``service`` (its name), ``exception`` and ``retry_in`` in seconds.
service_failed = _namespace.signal("service-failed")
#: This process begins to work; carries ``worker``.
worker_started = _namespace.signal("worker-started")
#: This process has stopped; carries ``worker``, ``released`` (jobs given back) and ``lost``.
worker_stopped = _namespace.signal("worker-stopped")


def send(signal: NamedSignal, app: object, **facts: Any) -> None:
    """Send *signal*, each receiver on its own: one that raises does not silence the next."""
    if not signal.receivers:
        return
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **facts)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and current_thread() is main_thread():
                # Somebody's Ctrl-C; on a thread of ours it was only raised.
                raise
            _logger.exception("a receiver of the signal %r raised", signal.name)
