"""What was found against the phantom's cause, as a table in markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEADER = (
    "map", "region", "of the map", "of the brain", "enrichment (95 %)", "untrained network",
    "over untrained (95 %)", "looking there only",
)  # fmt: skip


def truth_markdown(truth: Mapping[str, Any]) -> str:
    """One line a map and region, the map's own cause in bold, and a verdict a map; '' of an empty result.

    truth: of `ricenet.evaluation.occlusion.truth.cohort_truth`.
    """
    if not truth:
        return ""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    for map_name, found in truth["maps"].items():
        for name, region in found["regions"].items():
            shown = f"**{name}**" if name == found["cause"] else name
            lines.append(_line([map_name, shown, *_cells(region)]))
    verdicts = [f"- {name}: {found['verdict']}." for name, found in truth["maps"].items()]
    head = f"{truth['modality_set']}, {truth['subjects']} synthetic subjects:"
    return "\n".join([head, "", *lines, "", *verdicts, ""])


def _cells(region: Mapping[str, Any]) -> list[str]:
    return [
        f"{region['of_map']:.1%}",
        f"{region['of_volume']:.1%}",
        _estimate(region["enrichment"]),
        _mean(region["untrained"]),
        _estimate(region["over_untrained"]),
        "n/a" if region["looking_there_only"] is None else f"{region['looking_there_only']:.1f}",
    ]


def _estimate(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate["low"] is None:
        return _mean(estimate)
    return f"{estimate['mean']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def _mean(estimate: Mapping[str, Any] | None) -> str:
    return "n/a" if estimate is None else f"{estimate['mean']:.2f}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
