"""A Ray cluster on the loopback interface: a raylet for each address, started by the documented commands."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil

TESTS = Path(__file__).parent
TOKEN = "a token of the tests, as long as Ray wants it to be at the least"
STORE_BYTES = 100_000_000


@dataclass
class RayNodes:
    """Nodes by address, each with a temporary folder of its own; token authentication throughout."""

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="r", dir="/tmp")))
    port: int = 0
    head: str = "127.0.0.2"
    hosts: Iterator[int] = field(default_factory=lambda: count(3))
    up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.port or _free_port()

    @property
    def address(self) -> str:
        return f"{self.head}:{self.port}"

    def start(self, *addresses: str) -> None:
        """Start nodes; the head has to be the first."""
        for address in addresses:
            head = ("--head", f"--port={self.port}", "--include-dashboard=false")
            options = head if address == self.head else (f"--address={self.address}",)
            wait_for(self.starting(address, *options))
            self.up.append(address)

    @property
    def other(self) -> str:
        """The node beside the head."""
        (address,) = (address for address in self.up if address != self.head)
        return address

    def make_two(self) -> None:
        """Start a node beside the head if the one that was there is lost."""
        if len(self.up) < 2:
            self.start(f"127.0.0.{next(self.hosts)}")

    def starting(self, address: str, *options: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_TMPDIR": str(self.root),
            "TMPDIR": str(self.folder(address)),
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            # a killed node is missed after seconds, not after half a minute
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        environment.pop("RAY_ADDRESS", None)
        return subprocess.Popen(
            [
                *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"),
                f"--node-ip-address={address}",
                "--num-cpus=1",
                "--num-gpus=1",  # pretended
                f"--object-store-memory={STORE_BYTES}",
                "--disable-usage-stats",
                *options,
            ],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def folder(self, address: str) -> Path:
        """The temporary folder of one node."""
        folder = self.root / address
        folder.mkdir(exist_ok=True)
        return folder

    def kill(self, address: str) -> None:
        """kill -9 of a raylet and of all that it has started."""
        for process in self.raylets():
            if f"--node_ip_address={address}" in process.info["cmdline"]:
                kill([process, *process.children(recursive=True)])
        self.up.remove(address)

    def kill_keepers(self) -> None:
        """kill -9 of the processes that keep what workers send."""
        for raylet in self.raylets():
            kill([child for child in raylet.children() if "Keeper" in "".join(child.cmdline())])

    def stop(self) -> None:
        """End every process of this cluster, and remove its folders."""
        for process in self.processes():
            kill([process, *process.children(recursive=True)])
        shutil.rmtree(self.root, ignore_errors=True)

    def raylets(self) -> list[psutil.Process]:
        """One for each node that is up."""
        return [process for process in self.processes() if Path(process.info["cmdline"][0]).name == "raylet"]

    def processes(self) -> list[psutil.Process]:
        """Those that name this cluster's folder on their command line."""
        found = psutil.process_iter(["cmdline", "pid"])
        return [p for p in found if any(str(self.root) in part for part in p.info["cmdline"] or ())]


def wait_for(process: subprocess.Popen[str]) -> None:
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        return int(listener.getsockname()[1])
