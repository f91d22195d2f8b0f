"""How far a set of tasks is: for people who wait, and for logs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def task_progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar with the time left on a terminal; elsewhere (a log file) a line for each finished task."""
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
            if not console.is_terminal:
                task = bar.tasks[shown]
                left = "" if task.time_remaining is None else f", about {task.time_remaining:.0f} s left"
                logger.info("%s: %d of %d%s", description, task.completed, total, left)

        yield advance
