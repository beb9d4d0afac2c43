"""Every error Flask-Later raises, in one tree.

::

    LaterError
    ├── ConfigurationError            raised at start-up: the app is put together wrongly
    │   ├── UnknownSettingError
    │   ├── InvalidSettingError
    │   ├── AlreadyInitializedError
    │   ├── NotInitializedError
    │   ├── NotInstalledError
    │   ├── UnsupportedError
    │   ├── InvalidTaskError
    │   └── NameTakenError
    ├── EnqueueError                  raised in the caller: nothing was stored
    │   ├── ArgumentsError
    │   ├── NotSerializableError
    │   ├── PayloadTooLargeError
    │   ├── UnknownQueueError
    │   ├── QueueFullError
    │   ├── PrincipalQueueFullError
    │   ├── CallbackQueueFullError
    │   ├── ServiceQueueFullError
    │   └── ServiceStoppedError
    ├── JobError                      about one job
    │   ├── JobNotFoundError
    │   ├── JobNotFinishedError
    │   ├── JobTimeoutError
    │   ├── JobFailedError
    │   ├── JobCancelledError
    │   │   └── JobExpiredError       nobody had begun it in time
    │   ├── InvalidTransitionError
    │   └── UniqueKeyTakenError
    ├── MalformedPayloadError         stored text is not what we wrote
    │   └── UnknownClassError         it is, but its enum or dataclass is another here
    ├── StoreError                    the store could not answer
    │   ├── StoreBusyError
    │   ├── StoreFullError
    │   ├── StoreReadOnlyError
    │   ├── StoreCorruptError
    │   ├── StoreLostError
    │   ├── StoreUncertainError
    │   ├── StoreUnavailableError
    │   ├── StoreDeniedError
    │   └── StoreMismatchError
    └── UsageError                    raised in the caller: right call, wrong place or moment
        ├── OutsideAppContextError
        ├── OutsideRequestError
        ├── NotServingError
        ├── ManualModeError
        ├── NotManualError
        ├── EndlessWorkError
        ├── WaitInsideJobError
        ├── ReentryError
        └── UnknownServiceError

Each error keeps its facts as attributes, survives pickling, and says what to type. A branch has a
file of its own; all are imported from here.
"""

from __future__ import annotations

from .base import LaterError
from .configuration import (
    AlreadyInitializedError,
    ConfigurationError,
    InvalidSettingError,
    InvalidTaskError,
    NameTakenError,
    NotInitializedError,
    NotInstalledError,
    UnknownSettingError,
    UnsupportedError,
)
from .enqueue import (
    ArgumentsError,
    CallbackQueueFullError,
    EnqueueError,
    NotSerializableError,
    PayloadTooLargeError,
    PrincipalQueueFullError,
    QueueFullError,
    ServiceQueueFullError,
    ServiceStoppedError,
    UnknownQueueError,
)
from .job import (
    InvalidTransitionError,
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    JobTimeoutError,
    UniqueKeyTakenError,
)
from .payload import (
    MalformedPayloadError,
    UnknownClassError,
)
from .store import (
    StoreBusyError,
    StoreCorruptError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    StoreLostError,
    StoreMismatchError,
    StoreReadOnlyError,
    StoreUnavailableError,
    StoreUncertainError,
)
from .usage import (
    EndlessWorkError,
    ManualModeError,
    NotManualError,
    NotServingError,
    OutsideAppContextError,
    OutsideRequestError,
    ReentryError,
    UnknownServiceError,
    UsageError,
    WaitInsideJobError,
)

__all__ = [
    "AlreadyInitializedError",
    "ArgumentsError",
    "CallbackQueueFullError",
    "ConfigurationError",
    "EndlessWorkError",
    "EnqueueError",
    "InvalidSettingError",
    "InvalidTaskError",
    "InvalidTransitionError",
    "JobCancelledError",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobNotFinishedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "LaterError",
    "MalformedPayloadError",
    "ManualModeError",
    "NameTakenError",
    "NotInitializedError",
    "NotInstalledError",
    "NotManualError",
    "NotSerializableError",
    "NotServingError",
    "OutsideAppContextError",
    "OutsideRequestError",
    "PayloadTooLargeError",
    "PrincipalQueueFullError",
    "QueueFullError",
    "ReentryError",
    "ServiceQueueFullError",
    "ServiceStoppedError",
    "StoreBusyError",
    "StoreCorruptError",
    "StoreDeniedError",
    "StoreError",
    "StoreFullError",
    "StoreLostError",
    "StoreMismatchError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "StoreUncertainError",
    "UniqueKeyTakenError",
    "UnknownClassError",
    "UnknownQueueError",
    "UnknownServiceError",
    "UnknownSettingError",
    "UnsupportedError",
    "UsageError",
    "WaitInsideJobError",
]

for _error in __all__:
    # By the name under which they are imported, in tracebacks as well.
    globals()[_error].__module__ = __name__
