"""How long each stage took when it last ran, kept in the project's work folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ricenet.runtime.files import locked, read_json, write_json
from ricenet.runtime.strict_json import JsonError

STAGE_TIMES = Path("work/stage_times.json")


@contextlib.contextmanager
def timed(stage: str, path: Path = STAGE_TIMES) -> Iterator[None]:
    """Note the seconds of the block under a stage's name, if the block ends well."""
    start = time.monotonic()
    yield
    with locked(path.with_suffix(".lock"), temporary=True):
        write_json(path, {**read_stage_times(path), stage: round(time.monotonic() - start, 1)})


def read_stage_times(path: Path = STAGE_TIMES) -> dict[str, float]:
    """Seconds by stage; of a file that is missing or damaged none, since they serve nobody's results."""
    with contextlib.suppress(FileNotFoundError, JsonError):
        content = read_json(path)
        if isinstance(content, Mapping):
            return {str(k): float(v) for k, v in content.items() if isinstance(v, int | float)}
    return {}


def shown(seconds: float) -> str:
    """For people.

    >>> shown(4.25), shown(42.3), shown(75), shown(3725)
    ('4.2 s', '42 s', '1 min 15 s', '1 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    if minutes:
        return f"{minutes} min {rest} s"
    return f"{rest} s" if rest >= 10 else f"{seconds:.1f} s"
