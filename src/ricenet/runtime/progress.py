"""How far a set of tasks is: for people who wait, and for logs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from ricenet.runtime.stage_times import shown as time_shown

logger = logging.getLogger(__name__)

PARTS = 10
"""Of the whole, after each of which a log gets a line."""


@contextlib.contextmanager
def task_progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar with the time left on a terminal; elsewhere (a log file) a line for each tenth part."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # tasks may take hours, so the speed is that of the whole run
    with Progress(
        *columns, console=console, speed_estimate_period=float("inf"), disable=not console.is_terminal
    ) as bar:
        shown = bar.add_task(description, total=total)

        def advance() -> None:
            bar.advance(shown)
            task = bar.tasks[shown]
            if not console.is_terminal and ends_a_part(round(task.completed), total):
                left = task.time_remaining
                further = f", about {time_shown(left)} left" if left else ""
                logger.info("%s: %d of %d%s", description, task.completed, total, further)

        yield advance


def ends_a_part(done: int, total: int) -> bool:
    """Whether the last finished task ended a tenth part of all.

    >>> [done for done in range(1, 26) if ends_a_part(done, 25)]
    [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
    """
    return done * PARTS // total > (done - 1) * PARTS // total
