"""RQ's list of workers, for one that stays while Redis forgets."""

# RQ has types for some of what it takes.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

from rq.worker import BaseWorker

#: Seconds that a worker waits for a message before it beats again. RQ's own wait is seven minutes.
_BEAT = 30


class RegisteredWorker(BaseWorker):
    """Registers again at its next beat, once Redis has come back empty."""

    @property
    def dequeue_timeout(self) -> int:
        return min(_BEAT, super().dequeue_timeout)

    def heartbeat(self, *args: Any, **options: Any) -> None:
        # A process that was forked for a job has the name of its parent, whose task this is.
        if not self.is_horse and not self._is_known():
            # RQ's beat alone leaves a key that says nothing of the queues.
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]
        super().heartbeat(*args, **options)

    def _is_known(self) -> bool:
        with self.connection.pipeline() as pipeline:
            pipeline.sismember(self.redis_workers_keys, self.key)
            pipeline.hexists(self.key, "birth")
            return all(pipeline.execute())
