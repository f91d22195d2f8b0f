"""One attempt at a task on a node: what goes there, and what is done there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.ray.cluster import require_ray
from ricenet.runtime.ray.copies import StagedInputs, staged
from ricenet.runtime.ray.inspection import differences, versions_here
from ricenet.runtime.ray.staging import Sender


@dataclass(frozen=True)
class Attempt:
    """One attempt at a task, as it goes to a node.

    staging: says how to make the task there; None: `task` is it. keeper: Ray's handle of a ResultKeeper.
    run: a name for this run alone. versions: what a node has to have, if it is not among the known ones.
    """

    position: int
    task: Any
    staging: StagedInputs | None
    keeper: Any
    run: str
    versions: Mapping[str, str]
    known_nodes: frozenset[str]
    log_level: int
    send_seconds: float


def work_on_node(function: Callable[[Any], Any], attempt: Attempt) -> Any:
    """Do one task where this is called, with its files if it has any.

    Raises RicenetError: this node's software differs from the driver's, its temporary folder is not usable,
    or what it sends cannot be kept.
    """
    node = require_ray().get_runtime_context().get_node_id()
    if node not in attempt.known_nodes and (different := differences(versions_here(), attempt.versions)):
        raise RicenetError(f"a node that joined lately has {different}: install the same there")
    number, left = answer_of(attempt.keeper.begin.remote(attempt.position, node))

    def send(*changes: Any) -> None:
        answer_of(attempt.keeper.keep.remote(attempt.position, number, *changes))

    if attempt.staging is None:
        with Sender(send, None, attempt.log_level, attempt.send_seconds):
            return function(attempt.task)
    with (
        staged(attempt.staging, left, attempt.run, node) as (task, watch),
        Sender(send, watch, attempt.log_level, attempt.send_seconds),
    ):
        return function(task)


def answer_of(reference: Any) -> Any:
    """What a remote call returned; its error as it was raised there, without Ray's traceback in the text."""
    ray = require_ray()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
