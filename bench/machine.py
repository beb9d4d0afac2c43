"""What a figure is worth without: the machine, its disk, its load, and all versions."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from .figures import THREADS
from .suite import Suite


def describe(suite: Suite, runs: str) -> dict[str, str]:
    """Return what stands above the tables of *suite*."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _output("git", "describe", "--always", "--dirty", "--abbrev=10") or "unknown",
        "runs": runs,
        "threads": str(THREADS),
        "machine": f"{os.cpu_count()} cores, {_cpu()}, {platform.system()} {platform.release()}",
        "disk": f"{_sync_time():.0f} us for a write of 4 KB and its fsync, p50",
        "load before": load(),
        "Python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "versions": ", ".join([*_packages(suite), *_servers()]),
    }


def load() -> str:
    """Return the load of the last 1, 5 and 15 minutes; the benchmark alone makes about 2."""
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _packages(suite: Suite) -> list[str]:
    found: list[str] = []
    for name in suite.packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


def _servers() -> list[str]:
    """Return the versions of the servers, as their Debian packages say."""
    if not shutil.which("dpkg-query"):
        return []
    query = ("dpkg-query", "-W", "-f", "${Package} ${Version}\n")
    lines = _output(*query, "redis-server", "rabbitmq-server", "postgresql").splitlines()
    return [line for line in lines if line.partition(" ")[2]]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


def _sync_time() -> float:
    """Return microseconds; the disk is that of the checkout, where the queues are as well."""
    taken: list[float] = []
    with tempfile.TemporaryFile(dir=Path(__file__).parent) as file:
        for _ in range(200):
            start = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - start) * 1e6)
    return median(taken)
