"""Two hosts share a database, and one of them is cut off in the middle of a job.

The hosts are network namespaces: one is that of the tests, with the database and the web app, the
other has a worker, and a cable that can be pulled out.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.databases import PostgreSQL
from tests.live.events import wait_until

from flask_later.core.store import LEASE

from .broker_scene import OURS, BrokerScene
from .chaos import children_of
from .soak import pick

pytestmark = [pytest.mark.live, pytest.mark.services, pytest.mark.timeout(pick(120, 300))]

#: Addresses that are for tests of networks (RFC 2544), so nobody else has them.
NETWORK = "198.18.0.0/15"


@dataclass
class Cable:
    """Between this host, which is at *here*, and the host *there*."""

    there: str
    here: str

    @property
    def command(self) -> Sequence[str]:
        """What stands before a command to run it there."""
        return ("ip", "netns", "exec", self.there)

    def pull(self) -> None:
        ip("-n", self.there, "link", "set", "cable", "down")

    def plug(self) -> None:
        ip("-n", self.there, "link", "set", "cable", "up")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def laid() -> Iterator[Cable]:
    """A cable to a host that is there as long."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("only root can make another host, with iproute2: make services")
    there = f"later-{secrets.token_hex(4)}"
    here = f"198.18.{secrets.randbelow(256)}.{4 * secrets.randbelow(64)}"
    stem, last = here.rsplit(".", 1)
    ours, theirs = f"{stem}.{int(last) + 1}", f"{stem}.{int(last) + 2}"
    try:
        ip("netns", "add", there)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine has no network namespaces: {error.stderr.strip()}")
    try:
        ip("link", "add", there, "type", "veth", "peer", "name", "cable", "netns", there)
        ip("addr", "add", f"{ours}/30", "dev", there)
        ip("link", "set", there, "up")
        ip("-n", there, "addr", "add", f"{theirs}/30", "dev", "cable")
        ip("-n", there, "link", "set", "lo", "up")
        cable = Cable(there, ours)
        cable.plug()
        yield cable
    finally:
        # Its end of the cable goes with it, and so does ours.
        ip("netns", "del", there)


class Reachable(PostgreSQL):
    """A server that another host reaches at *address*."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def _initialize(self) -> None:
        super()._initialize()
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK} trust\n")

    def _command(self) -> Sequence[str]:
        return (*super()._command(), f"-clisten_addresses=127.0.0.1,{self.address}")

    @property
    def url_from_there(self) -> str:
        return self.url.replace("127.0.0.1", self.address)


@pytest.fixture
def cable() -> Iterator[Cable]:
    with laid() as cable:
        yield cable


@pytest.fixture
def scene(cable: Cable, tmp_path: Path) -> Iterator[BrokerScene]:
    if not PostgreSQL.is_installed():
        pytest.skip("postgresql is not installed: make services")
    with ExitStack() as stack:
        server = stack.enter_context(closing(Reachable(cable.here)))
        scene = BrokerScene(tmp_path, stack, server=server, engine="native")
        scene.prepare()
        yield scene


def let_lease_run_out(scene: BrokerScene, host: str) -> None:
    """Wait for that, or have the last beat of *host* been long ago, where time is short."""
    if pick(False, True):
        time.sleep(LEASE)
    else:
        earlier = int((LEASE + 1) * 1e6)
        scene.execute(
            f"UPDATE later_worker SET beat_at = beat_at - {earlier} WHERE host = '{host}'"
        )


def test_a_host_that_is_cut_off_in_the_middle_of_a_job(scene: BrokerScene, cable: Cable) -> None:
    """Its job runs again here and ends once; what it says when it is back is dropped.

    No other job is lost or runs twice, and it works on.
    """
    server = scene.server
    assert isinstance(server, Reachable)
    options = ("--threads=1", "--name=there")
    there = scene.work((*cable.command, *OURS, *options), store=server.url_from_there)

    # It runs a job of this host.
    scene.run("producer", "hold", 1, 0)
    (first,) = scene.events.wait_for("start")
    key = first["key"]
    assert first.pid in children_of(there.pid)

    # It is gone: another one takes over, and both come to the end.
    cable.pull()
    web = scene.web(embedded="true")
    scene.run("producer", "effect", 10, 0)
    let_lease_run_out(scene, "there")
    (_, second) = scene.events.wait_for("start", count=2, key=key, timeout=60.0)
    assert second.pid in children_of(web.pid)
    scene.open_gate(key)
    scene.wait_until_done()
    scene.events.wait_for("end", count=2, key=key)

    # It is back, and its last word comes through.
    cable.plug()
    wait_until(lambda: "an outcome came too late" in there.log, lambda: there.log, timeout=60.0)
    assert web.stop() == 0, web.log
    scene.run("producer", "effect", 1, 0)
    scene.wait_until_done()
    last = scene.events.find("end")[-1]
    assert last.pid == first.pid
    verdict = scene.judge()
    verdict.assert_held(duplicates=1)
    assert verdict.acknowledged == 12
