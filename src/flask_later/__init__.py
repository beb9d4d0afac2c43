"""Background work for Flask: after the response, as tasks, as services."""

from flask_later.core.job import ErrorRecord, JobState, Progress, StopReason
from flask_later.core.retry import Failure, Retry, TryAgain
from flask_later.errors import LaterError
from flask_later.extension import Later
from flask_later.runtime.service import QueueService, Service
from flask_later.runtime.service_thread import ServiceInfo, ServiceStatus
from flask_later.tasks.current import JobStopped, current_job
from flask_later.tasks.group import TaskGroup
from flask_later.tasks.job import Job
from flask_later.tasks.task import Call, Task
from flask_later.web.exchange import Exchange

__all__ = [
    "Call",
    "ErrorRecord",
    "Exchange",
    "Failure",
    "Job",
    "JobState",
    "JobStopped",
    "Later",
    "LaterError",
    "Progress",
    "QueueService",
    "Retry",
    "Service",
    "ServiceInfo",
    "ServiceStatus",
    "StopReason",
    "Task",
    "TaskGroup",
    "TryAgain",
    "current_job",
]
