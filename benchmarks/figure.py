"""How a benchmark reports: one JSON object a figure, a line each, at the end of its output."""

from __future__ import annotations

import json
import sys


def report(name: str, value: float, goal: str, agreement: str, met: bool) -> None:
    """Print one figure. agreement: what was compared with what, and how well it agrees."""
    # numpy's numbers are taken too
    figure = {"name": name, "value": round(float(value), 4), "goal": goal, "agreement": agreement}
    print(json.dumps(figure | {"met": bool(met)}))
    sys.stdout.flush()
