"""How figures look, how slices are laid out, and how both are saved with repeatable bytes.

Figures are made without pyplot, so that none of its global state is touched.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.files import atomic_path
from ricenet.volume import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""By the axis that each cuts across: x, y, z."""

DPI = 150
VALIDATION_COLOUR, TEST_COLOUR, TRAINING_COLOUR = "#0072B2", "#E69F00", "#595959"
"""From the palette of Okabe and Ito, which colour-blind readers can tell apart."""

ISODOSE_COLOURS: Mapping[float, str] = {20.0: "#35b779", 40.0: "#7ad98a", 50.0: "#b9f2a1", 60.0: "#f0ffd0"}
"""Isodose lines wherever a dose is shown, in every figure and page: Gy and colour."""
LINES_GROUND = "#22262b"
"""Behind a line in a legend: they are made to be seen on dark slices."""
OUTLINE_COLOURS: Mapping[str, str] = {"brain": "#c9ced3", "cavity": "#b6a2ff", "lesion": "#ff5cdb"}
"""Of masks, by name; none of them is a colour of occlusion maps."""

MAP_COLOURS = "managua_r"
"""Of occlusion maps: dark in the middle, so that strong changes shine on a dark brain; safe for colour-blind
readers."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "ricenet",
    "svg.fonttype": "path",
}


_PANEL_CHARACTERS = 26


def panel_title(title: str) -> str:
    """In lines that fit over one of four panels in a row.

    >>> panel_title("post-op T1ce + event T1ce + dose (small cohort)").splitlines()
    ['post-op T1ce + event T1ce', '+ dose (small cohort)']
    """
    return textwrap.fill(title, _PANEL_CHARACTERS)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with the project's fonts, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]  # its keys are literals
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the suffix, without dates or versions in it."""
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    with style(), atomic_path(path) as temporary:
        _settle_layout(figure)
        figure.savefig(temporary, dpi=DPI, metadata=metadata, facecolor="white")


def _settle_layout(figure: Figure) -> None:
    """Lay the figure out once and keep the places, rounded to a hundredth of a pixel or less.

    Constrained layout (matplotlib 3.11, kiwisolver 1.5) gives places that differ in the last bit from one
    drawing to the next, and the names of clipping paths in an SVG are hashes of these places.
    """
    figure.set_dpi(DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(float(v), 6) for v in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def slice_of(data: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """The slice (rows, columns) of (X, Y, Z) data, rows running upwards on the page."""
    result: NDArray[Any] = np.take(data, index, axis=PLANES.index(plane)).T
    return result


def extent_mm(grid: Grid, plane: Plane) -> tuple[float, float, float, float]:
    """Left, right, bottom and top world edges of a slice of a grid along the world axes."""
    low = grid.world_mm(np.full(3, -0.5))
    high = grid.world_mm(np.array(grid.shape) - 0.5)
    across, up = (axis for axis in range(3) if axis != PLANES.index(plane))
    return float(low[across]), float(high[across]), float(low[up]), float(high[up])


def show_slice(
    axes: Axes, data: NDArray[Any], grid: Grid, plane: Plane, index: int, **settings: Any
) -> AxesImage:
    """Draw a slice in world millimetres, radiologically: the patient's right is on the page's left."""
    extent = extent_mm(grid, plane)
    image = axes.imshow(
        slice_of(data, plane, index),
        origin="lower",
        extent=extent,
        **{"interpolation": "nearest", **settings},
    )
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    if plane != "sagittal":
        axes.set_xlim(extent[1], extent[0])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def draw_lines(
    axes: Axes, in_slice: NDArray[Any], colours: Mapping[float, str], grid: Grid, plane: Plane, width: float
) -> list[float]:
    """Contour lines of a slice (rows, columns) where `show_slice` draws it; returns the levels it crosses."""
    levels = [level for level in colours if in_slice.min() < level < in_slice.max()]
    if levels:
        # with an origin, values belong to the middles of pixels; without one, to the extent's edges
        axes.contour(
            in_slice, levels, origin="lower", extent=extent_mm(grid, plane),
            colors=[colours[level] for level in levels], linewidths=width,
        )  # fmt: skip
    return levels


def reached_isodoses(dose_gy: NDArray[np.floating]) -> dict[float, str]:
    """Those of ISODOSE_COLOURS that the dose exceeds somewhere."""
    return {gy: colour for gy, colour in ISODOSE_COLOURS.items() if float(dose_gy.max()) > gy}


def mark_sides(axes: Axes, plane: Plane) -> None:
    """Write the directions in the upper corners of a slice."""
    left, right = ("P", "A") if plane == "sagittal" else ("R", "L")
    for x, text, side in ((0.02, left, "left"), (0.98, right, "right")):
        axes.text(x, 0.98, text, transform=axes.transAxes, ha=side, va="top", color="white", fontsize=8)


def mri_in_brain(
    mri: NDArray[np.float32], brain: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float, float]:
    """A z-scored MRI with its background at the black end, and the grey window's two ends."""
    low, high = (float(v) for v in np.percentile(mri[brain], [1.0, 99.8]))
    return np.where(brain, mri, np.float32(low)).astype(np.float32), low, max(high, low + 1e-6)
