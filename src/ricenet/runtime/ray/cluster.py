"""Joining a Ray cluster, or starting one on this machine: in bounded time, faults in the user's words."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.files import regular_bytes
from ricenet.runtime.ray.inspection import PACKAGES, differences, node_inspection, versions_here
from ricenet.runtime.ray.placing import Node
from ricenet.runtime.temporary import PARTIAL

logger = logging.getLogger(__name__)

PING_SECONDS = 25
"""How long a cluster may take to answer at all; Ray itself would try for minutes."""

INSPECTION_SECONDS = 90
"""How long a node may take to say what it has; its first worker has to start and load Ray."""

_MOST_TOKEN_BYTES = 65_536


@dataclass(frozen=True)
class Cluster:
    """What has been joined. here: identity of the driver's node.

    joined: it was there before, with nodes that may share no files with this machine.
    known: nodes that were compared, by identity. seeing: those of them that see the files of this machine.
    """

    here: str
    joined: bool
    known: frozenset[str]
    seeing: frozenset[str]


def require_ray() -> Any:
    """The module ray.

    Raises RicenetError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise RicenetError(
            "execution.backend is ray, which is not installed: "
            "pip install 'ricenet[ray]', or set execution.backend to processes"
        ) from None
    return ray


@contextlib.contextmanager
def cluster(cpus: int) -> Iterator[Cluster]:
    """Join the cluster at RAY_ADDRESS, or start one with so many CPUs here; one that is joined stays up.

    Raises RicenetError: it cannot be reached, it refuses the token or the token's file cannot be read, this
    machine is none of its nodes, the software of a node differs, or a token is used here and not there.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield _compared(ray)
        return
    address = os.environ.get("RAY_ADDRESS", "")
    joining = address not in ("", "local")
    require_token_file(os.environ)
    if joining:
        _ping(address)
        _join(ray, address)
    else:
        ray.init(address="local", num_cpus=cpus, log_to_driver=False, logging_level=logging.WARNING)
    try:
        here = ray.get_runtime_context().get_node_id()
        yield _compared(ray) if joining else Cluster(here, False, frozenset({here}), frozenset({here}))
    finally:
        ray.shutdown()


def alive_nodes() -> list[Node]:
    """The nodes of the cluster that are up."""
    ray = require_ray()
    return [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def on_node(*identities: str) -> dict[str, Any]:
    """Options of a remote call that is to happen on one of these nodes."""
    return {"label_selector": {"ray.io/node-id": f"in({','.join(identities)})"}}


def require_token_file(environment: Mapping[str, str]) -> None:
    """Make sure that the file that holds Ray's token, where one is named, holds one.

    Ray itself ends without a word of it, as if nothing answered. Raises RicenetError.
    """
    name = environment.get("RAY_AUTH_TOKEN_PATH")
    if not name or environment.get("RAY_AUTH_TOKEN"):
        return
    try:
        found = None if regular_bytes(Path(name), _MOST_TOKEN_BYTES).strip() else "is empty"
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    if found:
        raise RicenetError(
            f"RAY_AUTH_TOKEN_PATH names a file that {found}: {name}. Name the file with the token that the "
            "cluster was started with, or unset it (docs/cluster.md)"
        )


def _ping(address: str) -> None:
    """See from outside whether a cluster answers: in a process of its own, which can be given up."""
    if address.startswith("ray://"):
        raise RicenetError(
            f"RAY_ADDRESS is {address}: start a node of the cluster on this machine "
            "(`ray start --address=HOST:PORT`) and set RAY_ADDRESS=auto"
        )
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "status"]
    try:
        done = subprocess.run(
            [*command, "--address", address],
            capture_output=True,
            text=True,
            timeout=PING_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(address) from None
    if done.returncode == 0:
        return
    if "authentication token" in done.stderr.lower():
        raise RicenetError(
            f"the Ray cluster at RAY_ADDRESS={address} refuses this token, or there is none: set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token that the cluster "
            "was started with (docs/cluster.md)"
        )
    raise _unreachable(address)


def _unreachable(address: str) -> RicenetError:
    return RicenetError(
        f"no Ray cluster answers at RAY_ADDRESS={address}: start it (docs/cluster.md), or mend the address, "
        "or unset RAY_ADDRESS to work on this machine alone"
    )


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    except (RuntimeError, OSError, ValueError, ray.exceptions.RayError) as error:
        text = " ".join(str(error).split())
        if "Version mismatch" in text:
            raise RicenetError(
                f"the Ray cluster at RAY_ADDRESS={address} runs another version of Ray or Python than this "
                f"process: install the same on every node ({text})"
            ) from None
        raise RicenetError(
            f"the Ray cluster at RAY_ADDRESS={address} answers, but cannot be joined: this machine has to be "
            "one of its nodes (`ray start --address=HOST:PORT` here, as the same user). "
            f"Ray says: {text[:300]}"
        ) from None


def _compared(ray: Any) -> Cluster:
    """Compare every node with this machine, all at once."""
    nodes, ours = alive_nodes(), versions_here()
    with tempfile.NamedTemporaryFile(prefix=PARTIAL, dir=Path.cwd()) as seen_here:
        inspect = ray.remote(num_cpus=0, max_retries=0)(node_inspection())
        asked = {
            node.identity: inspect.options(**on_node(node.identity)).remote(seen_here.name, PACKAGES)
            for node in nodes
        }
        found = _answers(ray, asked)
    _require_alike([node for node in nodes if node.identity in asked], found, ours)
    if any(there["open"] for there in found.values()):
        warn_of_open_nodes()
    seeing = frozenset(identity for identity, there in found.items() if there["sees"])
    return Cluster(ray.get_runtime_context().get_node_id(), True, frozenset(found), seeing)


def warn_of_open_nodes() -> None:
    """Warn of a cluster that anyone may use.

    Raises RicenetError: this process uses a token.
    """
    said = (
        "this Ray cluster has no token authentication: anyone who reaches its ports can run code and read "
        "patients' data. Start every node with RAY_AUTH_MODE=token (docs/cluster.md)"
    )
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        # Ray would lose the workers without a word
        raise RicenetError(f"RAY_AUTH_MODE is token here, but {said}")
    logger.warning(said)


def _answers(ray: Any, asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Answers by node; a node that turns out to be lost is taken from `asked`."""
    until = time.monotonic() + INSPECTION_SECONDS
    while True:
        ready, left = ray.wait(list(asked.values()), num_returns=len(asked), timeout=1.0)
        if not left or time.monotonic() > until:
            return {node: _answer(ray, reference) for node, reference in asked.items() if reference in ready}
        for lost in asked.keys() - {node.identity for node in alive_nodes()}:
            del asked[lost]


def _answer(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayError as error:
        return {"versions": {"its worker": type(error).__name__}, "sees": False, "open": False}
    return found


def _require_alike(nodes: list[Node], found: dict[str, dict[str, Any]], ours: dict[str, str]) -> None:
    problems = []
    for node in nodes:
        if node.identity not in found:
            problems.append(
                f"{node.address}: did not start a worker within {INSPECTION_SECONDS} s (`ray status`)"
            )
        elif different := differences(found[node.identity]["versions"], ours):
            problems.append(f"{node.address}: {different}")
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise RicenetError(
            f"{len(problems)} of {len(nodes)} nodes of the Ray cluster do not fit this machine. Install the "
            f"same ricenet[ray] there and start their Ray again:\n{lines}"
        )
