"""Tasks spread over a cluster: each is done once, however many nodes and workers are lost on the way."""

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
from ricenet.runtime.ray.joining import Cluster, alive_nodes, cluster, on_node, require_ray
from ricenet.runtime.ray.keeper import Keeper, Ticket
from ricenet.runtime.ray.likeness import versions_here
from ricenet.runtime.ray.node import LOOK_SECONDS, Luggage, Parcel, answer, sweep_run
from ricenet.runtime.ray.placing import Node, Placing, has_room, place
from ricenet.runtime.ray.travel import Travel

logger = logging.getLogger(__name__)

DIED = "its worker process ended without a word (killed, or out of memory)"

TURN_SECONDS = 2.0
"""How often the driver fetches the workers' log."""

RETURN_SECONDS = 600.0
"""How long tasks wait for a node with room for them, when all that had it are lost."""

MOST_LOST_NODES = 10
"""A task whose nodes are lost so often is likely to be the cause."""


@dataclass(frozen=True)
class Died:
    """A task without a result, since no worker could tell. detail: in Ray's words, may hold anything."""

    error: str
    detail: str = ""


def work_on_cluster(
    call: Callable[[Parcel], Any],
    tasks: Sequence[Any],
    workers: Share,
    threads: Share,
    cards: GpuShare,
    travel: Callable[[Any], Travel[Any]] | None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield positions of tasks with what `call` returned, or Died, as they end.

    call: is sent to the nodes with a Parcel, and passes it to `work_on_node`.
    travel: tasks without it work on nodes that see this machine's files.
    Raises RicenetError: as `cluster` and `place`; every node with room for a worker is lost and stays so.
    """
    if not tasks:
        return
    here = shares("ray", workers, threads)
    with cluster(here[0] * here[1]) as joined:
        # a cluster started here has as many CPUs as this machine's share
        asked = (workers, threads) if joined.joined else here
        luggage = [travel(task) for task in tasks] if travel and joined.joined else None
        run = _Run(call, tasks, luggage, joined)
        placing = place(run.nodes(), *asked, cards)
        logger.info(
            "ray: %d node(s), %d worker(s) at once, each with %d CPU(s) and %g graphics card(s)",
            len(run.nodes()), placing.workers, placing.threads, placing.cards,
        )  # fmt: skip
        with run.keeping():
            yield from run.work(placing)


class _Run:
    def __init__(
        self,
        call: Callable[[Parcel], Any],
        tasks: Sequence[Any],
        travels: Sequence[Travel[Any]] | None,
        joined: Cluster,
    ) -> None:
        self.ray, self.name = require_ray(), uuid.uuid4().hex[:12]
        self.call, self.tasks, self.travels, self.joined = call, tasks, travels, joined
        self.contents: dict[str, Any] = {}
        self.attempts, self.lost_nodes = [0] * len(tasks), [0] * len(tasks)
        self.lost: set[str | None] = set()
        self.deaths: list[list[str | None]] = [[] for _ in tasks]
        self.running: dict[Any, Ticket] = {}

    def nodes(self) -> list[Node]:
        """The nodes that these tasks may work on."""
        up, anywhere = self.up(), self.travels is not None
        return [node for node in up if anywhere or node.identity in self.joined.seeing]

    def up(self) -> list[Node]:
        """The nodes that are not lost; Ray takes a while to notice."""
        return [node for node in alive_nodes() if node.identity not in self.lost]

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """A keeper beside the driver; at the end no task runs, and no copy of an input is left behind."""
        folders: list[Path | None] = [None] * len(self.tasks)
        if self.travels is not None:
            folders = [travel.folder.absolute() for travel in self.travels]
        keeper = self.ray.remote(num_cpus=0, **on_node(self.joined.here))(Keeper)
        self.keeper = keeper.remote(folders)
        try:
            yield
            self.hear()
        finally:
            for reference in self.running:
                self.ray.cancel(reference, force=True)
            self.ray.kill(self.keeper)
            if self.travels is not None:
                self.sweep()

    def work(self, placing: Placing) -> Generator[tuple[int, Any], None, None]:
        """Work off all tasks, no more at once than there is room for."""
        waiting, roomless_since = deque(range(len(self.tasks))), None
        while waiting or self.running:
            while waiting and len(self.running) < placing.workers:
                self.submit(waiting.popleft(), placing)
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=TURN_SECONDS)
            self.hear()
            for reference in ready:
                ticket = self.running.pop(reference)
                ended = self.ended(reference, ticket)
                if ended is None:
                    waiting.appendleft(ticket.position)
                else:
                    yield ticket.position, ended
            roomless_since = self.require_room(placing, roomless_since)

    def submit(self, position: int, placing: Placing) -> None:
        """Send a task to wherever there is room."""
        self.attempts[position] += 1
        ticket = Ticket(position, self.attempts[position])
        travels = self.travels is not None
        parcel = Parcel(
            ticket,
            None if travels else self.tasks[position],
            self.luggage(position) if travels else None,
            self.keeper,
            self.name,
            versions_here(),
            self.joined.known,
            logging.getLogger("ricenet").getEffectiveLevel(),
            LOOK_SECONDS,
        )
        where = {} if travels or not self.joined.joined else on_node(*sorted(self.joined.seeing))
        remote = self.ray.remote(
            num_cpus=placing.threads,
            num_gpus=placing.cards,
            max_retries=0,
            runtime_env=_limits(placing),
            **where,
        )
        self.running[remote(_work).remote(self.call, parcel)] = ticket

    def luggage(self, position: int) -> Luggage:
        """What a task takes along; an input that many have is put into Ray's store once."""
        assert self.travels is not None
        travel = self.travels[position]
        for key, path in travel.inputs.items():
            if key not in self.contents:
                # a missing file is the task's to complain about
                content = np.fromfile(path, np.uint8) if path.is_file() else None
                self.contents[key] = None if content is None else self.ray.put(content)
        inputs = {key: self.contents[key] for key in travel.inputs}
        return Luggage(inputs, travel.folder.name, travel.last, travel.at)

    def ended(self, reference: Any, ticket: Ticket) -> Any:
        """What became of an attempt; None: it is to be tried again."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except (errors.NodeDiedError, errors.ObjectLostError):
            return self.lost_node(ticket)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            return self.died(ticket)
        except errors.RayError as error:
            cause = getattr(error, "cause", None) or error
            words = str(cause).strip().splitlines() or [""]
            return Died(f"the cluster could not do it ({type(cause).__name__})", words[-1].strip())

    def lost_node(self, ticket: Ticket) -> Died | None:
        """A lost node is no fault of the task."""
        self.lost.add(self.ask(self.keeper.node_of.remote(ticket)))
        self.lost_nodes[ticket.position] += 1
        if self.lost_nodes[ticket.position] >= MOST_LOST_NODES:
            return Died(f"the nodes it worked on were lost, {MOST_LOST_NODES} times")
        logger.warning("a node of the cluster is lost: its task goes on elsewhere, from what it had sent")
        return None

    def died(self, ticket: Ticket) -> Died | None:
        """A worker that dies on a living node is likely to be the task's fault; once is forgiven."""
        deaths = self.deaths[ticket.position]
        deaths.append(self.ask(self.keeper.node_of.remote(ticket)))
        up = {node.identity for node in self.up()}
        if sum(node is None or node in up for node in deaths) >= 2:
            return Died(f"{DIED}, twice")
        logger.warning("a task is tried once more: %s", DIED)
        return None

    def require_room(self, placing: Placing, roomless_since: float | None) -> float | None:
        """Since when no node has had room for a worker; None if one has.

        Raises RicenetError: for too long.
        """
        if has_room(self.nodes(), placing):
            return None
        now = time.monotonic()
        if roomless_since is None:
            logger.warning("no node with room for a worker is left: waiting for one to come back")
            return now
        if now - roomless_since > RETURN_SECONDS:
            raise RicenetError(
                f"no node that has {placing.threads} CPU(s) and {placing.cards:g} graphics card(s) came back "
                f"within {RETURN_SECONDS:.0f} s. What is finished or was sent is kept: start a node "
                "(`ray start --address=HOST:PORT`), and run again"
            )
        return roomless_since

    def hear(self) -> None:
        """Pass on what workers logged."""
        for line in self.ask(self.keeper.hear.remote()):
            logging.getLogger(line.logger).log(line.level, "%s", line.text)

    def ask(self, reference: Any) -> Any:
        """An answer of the keeper; raises RicenetError where it has ended."""
        try:
            return answer(reference)
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


def _work(call: Callable[[Parcel], Any], parcel: Parcel) -> Any:
    return call(parcel)


def _limits(placing: Placing) -> dict[str, Any]:
    return {"env_vars": thread_limits(placing.threads)}
