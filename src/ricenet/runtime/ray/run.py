"""Tasks spread over a Ray cluster: each is done once, however many nodes and workers are lost on the way."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import GpuShare, Share, shares, thread_limits
from ricenet.runtime.ray.attempt import Attempt, answer_of
from ricenet.runtime.ray.cluster import Cluster, alive_nodes, cluster, on_node, require_ray
from ricenet.runtime.ray.copies import StagedInputs, sweep_run
from ricenet.runtime.ray.inspection import versions_here
from ricenet.runtime.ray.placing import Node, Placing, has_room, place
from ricenet.runtime.ray.staging import ResultKeeper, StagedTask

logger = logging.getLogger(__name__)

DIED = "its worker process ended without a word (killed, or out of memory)"

SEND_SECONDS = 5.0
"""How often a node sends what a task has written since."""

TURN_SECONDS = 2.0
"""How often the driver fetches the workers' log."""

RETURN_SECONDS = 600.0
"""How long tasks wait for a node with room for them, when all that had it are lost."""

MOST_LOST_NODES = 10
"""A task whose nodes are lost so often is likely to be the cause."""


@dataclass(frozen=True)
class Died:
    """A task without a result, since no worker could say. detail: in Ray's words, may hold anything."""

    error: str
    detail: str = ""


def work_on_cluster(
    call: Callable[[Attempt], Any],
    tasks: Sequence[Any],
    workers: Share,
    threads: Share,
    gpus: GpuShare,
    staging: Callable[[Any], StagedTask[Any]] | None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield positions of tasks with what `call` returned, or Died, as they end.

    call: is sent to the nodes with an Attempt, and passes it to `work_on_node`.
    staging: tasks without it work on nodes that see this machine's files.
    Raises RicenetError: as `cluster` and `place`; every node with room for a worker is lost and stays so.
    """
    if not tasks:
        return
    here = shares("ray", workers, threads)
    with cluster(here[0] * here[1]) as joined:
        # a cluster started here has as many CPUs as this machine's share
        asked = (workers, threads) if joined.joined else here
        staged_tasks = [staging(task) for task in tasks] if staging and joined.joined else None
        run = _Run(call, tasks, staged_tasks, joined)
        placing = place(run.nodes(), *asked, gpus)
        logger.info(
            "ray: %d node(s), %d worker(s) at once, each with %d CPU(s) and %g GPU(s)",
            len(run.nodes()), placing.workers, placing.threads, placing.gpus,
        )  # fmt: skip
        with run.keeping():
            yield from run.work(placing)


class _Run:
    def __init__(
        self,
        call: Callable[[Attempt], Any],
        tasks: Sequence[Any],
        staged_tasks: Sequence[StagedTask[Any]] | None,
        joined: Cluster,
    ) -> None:
        self.ray, self.name = require_ray(), uuid.uuid4().hex[:12]
        self.call, self.tasks, self.staged, self.joined = call, tasks, staged_tasks, joined
        self.contents: dict[str, Any] = {}
        self.lost: set[str | None] = set()
        self.lost_nodes, self.deaths = [0] * len(tasks), [list[str | None]() for _ in tasks]
        self.running: dict[Any, int] = {}

    def up(self) -> list[Node]:
        """The nodes that are not lost; Ray takes a while to notice."""
        return [node for node in alive_nodes() if node.identity not in self.lost]

    def nodes(self) -> list[Node]:
        """The nodes that these tasks may work on."""
        return [n for n in self.up() if self.staged is not None or n.identity in self.joined.seeing]

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """A keeper beside the driver; at the end no task runs, and no copy of an input is left behind."""
        folders: list[Path | None] = [None] * len(self.tasks)
        if self.staged is not None:
            folders = [task.folder.absolute() for task in self.staged]
        keeper = self.ray.remote(num_cpus=0, **on_node(self.joined.here))(ResultKeeper)
        self.keeper = keeper.remote(folders)
        try:
            yield
            self.pass_on_log()
        finally:
            for reference in self.running:
                self.ray.cancel(reference, force=True)
            self.ray.kill(self.keeper)
            if self.staged is not None:
                self.sweep()

    def work(self, placing: Placing) -> Generator[tuple[int, Any], None, None]:
        """Work off all tasks, no more at once than there is room for."""
        waiting, roomless_since = deque(range(len(self.tasks))), None
        while waiting or self.running:
            while waiting and len(self.running) < placing.workers:
                self.submit(waiting.popleft(), placing)
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=TURN_SECONDS)
            self.pass_on_log()
            for reference in ready:
                position = self.running.pop(reference)
                ended = self.ended(reference, position)
                if ended is None:
                    waiting.appendleft(position)
                else:
                    yield position, ended
            roomless_since = self.require_room(placing, roomless_since)

    def submit(self, position: int, placing: Placing) -> None:
        """Send a task to wherever there is room."""
        staging = self.staging(position)
        attempt = Attempt(
            position,
            None if staging else self.tasks[position],
            staging,
            self.keeper,
            self.name,
            versions_here(),
            self.joined.known,
            logging.getLogger("ricenet").getEffectiveLevel(),
            SEND_SECONDS,
        )
        where = {} if staging or not self.joined.joined else on_node(*sorted(self.joined.seeing))
        # no retries of Ray's own: it would try a task that needs too much memory for ever
        remote = self.ray.remote(
            num_cpus=placing.threads,
            num_gpus=placing.gpus,
            max_retries=0,
            runtime_env={"env_vars": thread_limits(placing.threads)},
            **where,
        )
        self.running[remote(_work).remote(self.call, attempt)] = position

    def staging(self, position: int) -> StagedInputs | None:
        """What a task takes along; an input that many have is put into Ray's store once."""
        if self.staged is None:
            return None
        task = self.staged[position]
        for key, path in task.inputs.items():
            if key not in self.contents:
                # a missing file is the task's to complain about
                self.contents[key] = self.ray.put(np.fromfile(path, np.uint8)) if path.is_file() else None
        inputs = {key: self.contents[key] for key in task.inputs}
        return StagedInputs(inputs, task.folder.name, task.last, task.at)

    def ended(self, reference: Any, position: int) -> Any:
        """What became of an attempt; None: it is to be tried again."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except (errors.NodeDiedError, errors.ObjectLostError):
            return self.lost_node(position)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            return self.died(position)
        except errors.RayError as error:
            cause = getattr(error, "cause", None) or error
            words = str(cause).strip().splitlines() or [""]
            return Died(f"the cluster could not do it ({type(cause).__name__})", words[-1].strip())

    def lost_node(self, position: int) -> Died | None:
        """A lost node is no fault of the task."""
        self.lost.add(self.ask(self.keeper.node_of.remote(position)))
        self.lost_nodes[position] += 1
        if self.lost_nodes[position] >= MOST_LOST_NODES:
            return Died(f"the nodes it worked on were lost, {MOST_LOST_NODES} times")
        logger.warning("a node of the cluster is lost: its task goes on elsewhere, from what it had sent")
        return None

    def died(self, position: int) -> Died | None:
        """A worker that dies on a living node is likely to be the task's fault; once is forgiven."""
        deaths = self.deaths[position]
        deaths.append(self.ask(self.keeper.node_of.remote(position)))
        up = {node.identity for node in self.up()}
        if sum(node is None or node in up for node in deaths) >= 2:
            return Died(f"{DIED}, twice")
        logger.warning("a task is tried once more: %s", DIED)
        return None

    def require_room(self, placing: Placing, roomless_since: float | None) -> float | None:
        """Since when no node has had room for a worker; None: one has. Raises RicenetError: too long."""
        if has_room(self.nodes(), placing):
            return None
        now = time.monotonic()
        if roomless_since is None:
            logger.warning("no node with room for a worker is left: waiting for one to come back")
            return now
        if now - roomless_since > RETURN_SECONDS:
            raise RicenetError(
                f"no node that has {placing.threads} CPU(s) and {placing.gpus:g} GPU(s) came back within "
                f"{RETURN_SECONDS:.0f} s. What is finished or was sent is kept: start a node "
                "(`ray start --address=HOST:PORT`), and run again"
            )
        return roomless_since

    def pass_on_log(self) -> None:
        """Log here what workers logged."""
        for name, level, text in self.ask(self.keeper.log_lines.remote()):
            logging.getLogger(name).log(level, "%s", text)

    def ask(self, reference: Any) -> Any:
        """An answer of the keeper; raises RicenetError where it has ended."""
        try:
            return answer_of(reference)
        except self.ray.exceptions.RayActorError:
            raise RicenetError(
                "the process on this machine that keeps what workers send has ended (killed, or out of "
                "memory); what it had written is kept: run again"
            ) from None

    def sweep(self) -> None:
        """Delete the copies on all nodes; a node that does not answer does so before its next task."""
        remote = self.ray.remote(num_cpus=0, max_retries=0)(sweep_run)
        asked = [remote.options(**on_node(node.identity)).remote(self.name) for node in self.up()]
        self.ray.wait(asked, num_returns=len(asked), timeout=20)


def _work(call: Callable[[Attempt], Any], attempt: Attempt) -> Any:
    return call(attempt)
