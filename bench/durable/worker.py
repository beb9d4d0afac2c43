"""``python -m bench.durable.worker QUEUE FOLDER THREADS``: the worker, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

from .place import Place
from .queue import open_queue

if __name__ == "__main__":
    name, folder, threads = sys.argv[1:]
    open_queue(name, Place(Path(folder))).work(int(threads))
