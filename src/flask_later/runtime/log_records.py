"""Log records that say which job they belong to."""

from __future__ import annotations

import logging
from typing import Any

from flask_later.tasks.current import current_attempt


def install_record_factory() -> None:
    """Give every log record ``later_job_id``, ``later_task`` and ``later_attempt``.

    They are empty outside of jobs, so that a format may always name them. It wraps the factory
    that is set, and once: only a factory reaches every logger and handler of the process. The
    names are ours, since ``logging`` refuses an ``extra`` whose name a record has already.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "_flask_later", False):
        return

    def make_with_job(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        attempt = current_attempt.get()
        record.later_job_id = attempt.id
        record.later_task = attempt.task
        record.later_attempt = "" if attempt.is_detached else attempt.attempt
        return record

    make_with_job._flask_later = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_with_job)
