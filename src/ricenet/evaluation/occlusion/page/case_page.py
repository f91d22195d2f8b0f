"""A case as one HTML file that needs nothing beside it: viewer, votes, dose-volume histogram, numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ricenet.display import charts
from ricenet.display.drawing import ISODOSE_COLOURS, MAP_COLOURS, OUTLINE_COLOURS, reached_isodoses
from ricenet.display.templates import render
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case, Explanation, strongest_voxel
from ricenet.evaluation.occlusion.map_summary import OUTSIDE_BRAIN, MapSummary
from ricenet.evaluation.occlusion.page.embedded_volume import embedded_anatomy, embedded_map
from ricenet.evaluation.occlusion.page.gallery import PACKAGE, pictured, thumbnail
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.runtime.errors import ResultError
from ricenet.training.predictions import predicted_label
from ricenet.vocabulary import Volumes, VolumeSpec

BUNDLE = "viewer.js"
PLANES = ("axial", "coronal", "sagittal")
MARGIN_MM = 6.0
"""Left free around the brain where the whole of it is shown."""
_OTHER_OUTLINE = "#ff9ec4"
_VOTE_ROW = 26.0
_HISTOGRAM_POINTS = 161


def case_page(case: Case) -> str:
    """The page as HTML text: viewer, votes, dose-volume histogram, summaries, provenance.

    Volumes are rounded (MRI to 0.01 SD, dose to 0.02 Gy, maps to 1/4000 of their strongest change).
    Raises ResultError: the viewer was not built. ValueError: the grid does not lie along the world axes.
    """
    anatomy, explanation = case.anatomy, case.explanation
    maps = {f"map-{name}": embedded_map(change, anatomy.grid) for name, change in case.maps.items()}
    return render(
        PACKAGE,
        "case.html",
        "pages.css",
        case=explanation,
        set_title=anatomy.declared.set_title(explanation.modality_set),
        seen=anatomy.declared.members(explanation.modality_set),
        panels=anatomy.volumes,
        has_dose=anatomy.dose_gy is not None,
        pictured=[spec.title for spec in pictured(anatomy)],
        picture=base64.b64encode(thumbnail(case)).decode("ascii"),
        description=viewer_description(case),
        volumes=embedded_anatomy(anatomy) | maps,
        gradient=css_gradient(),
        not_reached=_not_reached(anatomy),
        summaries=[
            (
                name,
                map_title(name, explanation.modality_set, anatomy.declared),
                _groups(summary),
                next((share for share in summary.isodoses if share.name == OUTSIDE_BRAIN), None),
                summary,
            )
            for name, summary in explanation.maps.items()
        ],
        votes=vote_positions(explanation),
        vote_labels=[predicted_label(vote.p_rice) for vote in explanation.votes],
        dose_volume=dose_volume(case.doses),
        frame=charts.FRAME,
        script=viewer_script(),
    )


def viewer_script() -> str:
    """The viewer with all that it needs, as one script with the licences of what it holds.

    Raises ResultError: it was not built.
    """
    script = resources.files(PACKAGE).joinpath(BUNDLE)
    if not script.is_file():
        raise ResultError(
            f"the viewer of the case pages is not built: there is no {BUNDLE} in the package "
            f"{PACKAGE}. Run `make viewer` (npm packages are fetched and bundled), then try again"
        )
    return script.read_text(encoding="utf-8")


def viewer_description(case: Case) -> dict[str, Any]:
    """The JSON that the viewer reads: volumes with their windows, maps, lines, places and colours."""
    anatomy = case.anatomy
    modality_set = case.explanation.modality_set
    maps: list[dict[str, Any]] = [
        {
            "name": name,
            "title": map_title(name, modality_set, anatomy.declared),
            "volume": f"map-{name}",
            "limit": float(np.abs(change).max()),
            "strongest": list(strongest_voxel(change)),
        }
        for name, change in case.maps.items()
    ]
    centre_mm, zoom = _brain_in_view(anatomy)
    return {
        "volumes": [_volume(anatomy, spec) for spec in anatomy.volumes],
        "maps": maps,
        "masks": ["brain", *anatomy.known_masks],
        "regions": list(anatomy.known_masks),
        "lines": lines(anatomy),
        "places": _places(anatomy),
        "start": maps[0]["strongest"],
        "planes": list(PLANES),
        "decimals": decimals_for(max(m["limit"] for m in maps)),
        "centre_mm": centre_mm,
        "zoom": zoom,
        "colours": map_colours(),
    }


def _volume(anatomy: Anatomy, spec: VolumeSpec) -> dict[str, Any]:
    _, low, high = anatomy.window(spec)
    unit = "Gy" if spec.kind == "dose" else "SD" if spec.scale is None else ""
    return {
        "name": spec.name, "title": spec.title, "kind": spec.kind, "low": low, "high": high, "unit": unit,
        "decimals": 1 if spec.kind == "dose" else 2,
    }  # fmt: skip


def map_title(name: str, modality_set: str, volumes: Volumes) -> str:
    """What is hidden for a map, as a reader says it.

    >>> from ricenet.vocabulary import PAPER_VOLUMES
    >>> [map_title(name, "post_op+dose", PAPER_VOLUMES) for name in ("together", "dose")]
    ['both volumes', 'dose alone']
    """
    if name != TOGETHER:
        return f"{volumes[name].title} alone"
    inputs = volumes.members(modality_set)
    return {1: inputs[0].title, 2: "both volumes"}.get(len(inputs), "all volumes")


def decimals_for(limit: float) -> int:
    """Decimals that show three digits of the strongest change, and at least three.

    >>> decimals_for(0.4), decimals_for(0.0123)
    (3, 4)
    """
    return 3 if limit <= 0 else min(max(3, 2 - math.floor(math.log10(limit))), 9)


def lines(anatomy: Anatomy) -> list[dict[str, Any]]:
    """Isodoses and outlines: of which volume, at what level, in which colour, and what is written there.

    label_at: the direction (radians, anticlockwise) in which a line's label stands, each another one, so
    that labels of neighbouring isodoses part.
    """
    dose = anatomy.declared.dose
    reached = {} if dose is None or anatomy.dose_gy is None else reached_isodoses(anatomy.dose_gy)
    isodoses = [
        {"name": f"isodose-{gy:g}", "volume": dose and dose.name, "level": gy, "title": f"{gy:g} Gy",
         "colour": colour, "label": f"{gy:g}", "shown": True, "label_at": math.pi * (0.1 + 0.55 * position)}
        for position, (gy, colour) in enumerate(reached.items())
    ]  # fmt: skip
    outlines = [
        {"name": name, "volume": name, "level": 0.5, "title": name, "label": "", "shown": name != "cavity",
         "colour": OUTLINE_COLOURS.get(name, _OTHER_OUTLINE)}
        for name in ("brain", *anatomy.known_masks)
    ]  # fmt: skip
    return [*isodoses, *outlines]


def map_colours(steps: int = 32) -> dict[str, dict[str, list[int]]]:
    """NiiVue's tables for both halves of the map's colours, from no change to the strongest one.

    lowers: hiding lowers p_rice (a positive change); raises: the opposite.
    """
    return {"lowers": _table(_colours(0.5, 1.0, steps)), "raises": _table(_colours(0.5, 0.0, steps))}


def css_gradient(steps: int = 24) -> str:
    """The whole scale, from the strongest negative change to the strongest positive one."""
    return ", ".join("rgb({} {} {})".format(*colour) for colour in _colours(0.0, 1.0, steps))


def _colours(start: float, end: float, steps: int) -> NDArray[np.int64]:
    """(steps, 3), 0 to 255."""
    import matplotlib

    shades = np.asarray(matplotlib.colormaps[MAP_COLOURS](np.linspace(start, end, steps)))[:, :3]
    result: NDArray[np.int64] = np.rint(255 * shades).astype(np.int64)
    return result


def _table(colours: NDArray[np.int64]) -> dict[str, list[int]]:
    channels = {channel: colours[:, k].tolist() for k, channel in enumerate("RGB")}
    places = np.rint(np.linspace(0, 255, len(colours))).astype(int).tolist()
    # the first entry is that of no change at all, which hides nothing
    return {**channels, "A": [0] + [255] * (len(colours) - 1), "I": places}


def _places(anatomy: Anatomy) -> dict[str, list[int]]:
    """Where the buttons lead: the middle of the high dose, and of each known mask."""
    from scipy import ndimage

    found = {name: ndimage.center_of_mass(m) for name, m in anatomy.known_masks.items() if m.max() > 0}
    if anatomy.isocentre is not None:
        found = {"dose": anatomy.isocentre, **found}
    return {name: [round(float(index)) for index in voxel] for name, voxel in found.items()}


def _brain_in_view(anatomy: Anatomy) -> tuple[list[float], float]:
    """The middle of the brain's box (world mm), and how far it may be enlarged to be seen whole."""
    inside = np.argwhere(anatomy.brain)
    low, high = inside.min(axis=0) - 0.5, inside.max(axis=0) + 0.5
    spacing = np.array(anatomy.grid.spacing_mm)
    reach_mm = (high - low) * spacing + 2 * MARGIN_MM
    zoom = float(np.min(np.array(anatomy.grid.shape) * spacing / reach_mm))
    centre = anatomy.grid.world_mm((low + high) / 2)
    return [float(mm) for mm in centre], max(zoom, 1.0)


def _not_reached(anatomy: Anatomy) -> list[str]:
    if anatomy.dose_gy is None:
        return []
    return [f"{gy:g} Gy" for gy in ISODOSE_COLOURS if gy not in reached_isodoses(anatomy.dose_gy)]


def _groups(summary: MapSummary) -> list[tuple[str, Sequence[Any]]]:
    bands = [share for share in summary.isodoses if share.name != OUTSIDE_BRAIN]
    groups = (("by dose", bands), ("by region", summary.regions))
    return [(title, shares) for title, shares in groups if shares]


def vote_positions(case: Explanation) -> dict[str, Any]:
    """The folds' probabilities on one axis from 0 (recurrence) to 1 (rice), and their mean below them."""
    axis = charts.Axis(0.0, 1.0, charts.LEFT, charts.WIDTH - charts.RIGHT)
    y = charts.TOP + _VOTE_ROW * (len(case.votes) + 0.7)
    return {
        "folds": [
            (vote, axis(vote.p_rice), charts.TOP + _VOTE_ROW * (row + 0.5))
            for row, vote in enumerate(case.votes)
        ],
        "mean": (axis(case.p_rice), y),
        "interval": None if case.interval is None else tuple(map(axis, case.interval)),
        "middle": axis(0.5),
        "ticks": axis.ticks([0.0, 0.25, 0.5, 0.75, 1.0]),
        "height": y + _VOTE_ROW / 2 + charts.BOTTOM,
    }


def dose_volume(doses: Mapping[str, StructureDose]) -> charts.Chart | None:
    """Share of each structure, by name, that gets a dose or more; None without a dose.

    On the dose's own grid, so it may differ from what the voxels of the shown grid add up to.
    """
    there = {name: dose for name, dose in doses.items() if dose.total_ml > 0}
    if not there:
        return None
    highest_gy = max(dose.max_gy for dose in there.values())
    end_gy = charts.ticks_between(0.0, max(highest_gy, 1.0), 8)[-1]
    levels = np.linspace(0.0, end_gy, _HISTOGRAM_POINTS)
    curves = []
    for position, (name, dose) in enumerate(there.items()):
        rows = np.stack([levels, 100 * dose.volumes_ml(levels) / dose.total_ml], axis=1)
        curves.append((f"{name}, {dose.total_ml:.0f} ml", f"structure-{position}", rows.tolist()))
    rules = {f"{gy:g}": gy for gy in ISODOSE_COLOURS if gy <= highest_gy}
    return charts.chart("Dose-volume histogram", "dose (Gy)", "share of the structure (%)", curves, rules)
