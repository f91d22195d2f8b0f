"""Figures of trust in a probability: reliability curves, and what abstaining costs and gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ricenet.display.drawing import TEST_COLOUR, VALIDATION_COLOUR
from ricenet.evaluation.evidence.record import Abstention, Bin, Calibration
from ricenet.report.figures_layout import RULE_COLOUR, panels, upright

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability_figure(calibration: Mapping[str, Calibration], names: Sequence[str]) -> Figure:
    """Observed share of RICE by mean predicted p_rice, before and after the temperature.

    names: modality sets, in order. Intervals: exact, for the share in a bin.
    """

    def draw(axes: Axes, name: str) -> None:
        axes.plot([0, 1], [0, 1], color=RULE_COLOUR, linestyle=":", linewidth=1, label="perfect")
        _bins(axes, calibration[name].bins, TEST_COLOUR, "s--", "as predicted")
        _bins(axes, calibration[name].scaled_bins, VALIDATION_COLOUR, "o-", "temperature scaled")
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)

    return panels(names, draw, "mean predicted p_rice", "share with RICE")


def _bins(axes: Axes, bins: Sequence[Bin], colour: str, form: str, label: str) -> None:
    for b in bins:
        upright(axes, b.share_rice, b.mean_p_rice, color=colour, fmt=form[0], markersize=4, elinewidth=0.8)
    x, y = [b.mean_p_rice for b in bins], [b.share_rice.value for b in bins]
    axes.plot(x, y, form, color=colour, markersize=4, linewidth=1.1, label=label)


def coverage_risk_figure(abstention: Mapping[str, Abstention], names: Sequence[str]) -> Figure:
    """Error among the answered by the share answered, most confident first, and what the thresholds reach."""

    def draw(axes: Axes, name: str) -> None:
        found = abstention[name]
        axes.axhline(found.target_error, color=RULE_COLOUR, linestyle=":", linewidth=1, label="target error")
        x, y = [share for share, _ in found.curve], [error for _, error in found.curve]
        axes.plot(x, y, color=VALIDATION_COLOUR, linewidth=1.4, label="answered by confidence")
        if found.error is not None:
            axes.plot(
                found.coverage.value, found.error.value, "D", color=TEST_COLOUR, markersize=6,
                linestyle="none", label="at the threshold",
            )  # fmt: skip
        else:
            axes.plot([], [], "D", color=TEST_COLOUR, linestyle="none", label="at the threshold")
        axes.set_xlim(0, 1.03)
        axes.set_ylim(-0.03, 1.03)

    return panels(names, draw, "share of the subjects that get an answer", "error among them", height=1.9)
