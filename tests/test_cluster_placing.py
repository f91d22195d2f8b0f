"""Workers find room on the nodes of a cluster; what has none is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ricenet.runtime.errors import RicenetError
from ricenet.runtime.machine import WORKER_BYTES
from ricenet.runtime.ray.placing import Node, Placing, place


def node(cpus: float, gpus: float = 0, workers_in_memory: float = 100) -> Node:
    return Node("id", "192.0.2.1", cpus, gpus, workers_in_memory * WORKER_BYTES)


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        # one worker for each CPU of both nodes
        ([node(2), node(4)], ("auto", "auto", 0), Placing(6, 1, 0)),
        # four CPUs for each of three: the node of 2 has no room for one of 4
        ([node(2), node(8), node(4)], (3, "auto", 0), Placing(3, 4, 0)),
        ([node(16), node(16)], ("auto", 5, 0), Placing(6, 5, 0)),
        # memory for three and, as one is always tried, for one
        ([node(8, workers_in_memory=3.9), node(8, workers_in_memory=0.5)], ("auto", 1, 0), Placing(4, 1, 0)),
        # a GPU each, and the CPUs that are left to it; the node without a GPU has no worker
        ([node(16, 2), node(8)], ("auto", "auto", "auto"), Placing(2, 8, 1)),
        # five on two GPUs: three each, so that each lies on one
        ([node(16, 2)], (5, 1, "auto"), Placing(5, 1, 0.3333)),
        ([node(16, 2)], (1, 1, "auto"), Placing(1, 1, 1)),
        # of tenths ten, not nine, fit on a GPU
        ([node(64, 1), node(64, 1)], ("auto", 2, 0.1), Placing(20, 2, 0.1)),
        # two of 0.6 do not share a GPU
        ([node(8, 2)], ("auto", 1, 0.6), Placing(2, 1, 0.6)),
        ([node(8, 4)], ("auto", "auto", 2), Placing(2, 4, 2)),
        # GPUs are no use to tasks that ask for none, and missing where nobody has one
        ([node(8, 4)], ("auto", 1, 0), Placing(8, 1, 0)),
        ([node(8)], ("auto", 1, "auto"), Placing(8, 1, 0)),
        # more workers than there is room for: the others wait
        ([node(2)], (7, "auto", 0), Placing(7, 1, 0)),
    ],
)
def test_what_is_left_open_follows_from_the_nodes(
    nodes: list[Node], asked: tuple[Any, Any, Any], expected: Placing
) -> None:
    assert place(nodes, *asked) == expected


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((1, 5, 0), r"5 CPU\(s\) and 0 GPU\(s\), and no node has that; the nodes have: "
                    r"4 CPU\(s\) and 0 GPU\(s\); 2 CPU\(s\) and 1 GPU\(s\)\. Lower"),
        ((1, 4, 0.5), r"asks for 4 CPU\(s\) and 0.5 GPU\(s\), and no node has that"),
        (("auto", "auto", 2), r"asks for 1 CPU\(s\) and 2 GPU\(s\), and no node has that"),
        ((1, 1, 1.5), "gpus_per_worker is 1.5: above one GPU, only whole GPUs"),
    ],
)  # fmt: skip
def test_a_worker_that_no_node_can_hold_is_refused(asked: tuple[Any, Any, Any], found: str) -> None:
    with pytest.raises(RicenetError, match=found):
        place([node(4), node(2, 1)], *asked)


def test_without_nodes_there_is_nothing() -> None:
    with pytest.raises(RicenetError, match="the nodes have: nothing"):
        place([], "auto", "auto", 0)
