"""One subject's page: pictures that alternate, outlines over them, measures, curves, provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ricenet.display import charts
from ricenet.display.drawing import ISODOSE_COLOURS
from ricenet.display.templates import render, template_text
from ricenet.runtime.files import read_json
from ricenet.screening.quality.examination import ISODOSES_GY, RECORD
from ricenet.screening.quality.measures import MEASURES, Limit, Mark, SubjectQuality
from ricenet.screening.quality.mosaic import PIXEL_MM

PACKAGE = "ricenet.screening.quality"


class Neighbours(NamedTuple):
    """The subjects before and after one in the group's order; None at the ends."""

    previous: str | None
    next: str | None


class Over(NamedTuple):
    """A picture, and what the viewer calls it."""

    picture: str
    name: str


class Outline(NamedTuple):
    """An outline with its checkbox."""

    name: str
    label: str
    shown: bool
    dashed: bool = False


@dataclass(frozen=True)
class Viewer:
    """One place of the page where pictures of a sheet alternate with the reference."""

    name: str
    title: str
    sheet: str
    under: Over
    overs: tuple[Over, ...]
    outlines: tuple[Outline, ...]
    about: str
    caption: str
    plays: bool = False


def read_examination(folder: Path) -> dict[str, Any]:
    """What was found of a subject. folder: in the store."""
    record: dict[str, Any] = read_json(folder / RECORD)
    return record


def subject_page(
    quality: SubjectQuality,
    folder: Path,
    limits: Mapping[str, Limit],
    marks: Sequence[Mark],
    neighbours: Neighbours,
    cohort: str,
    synthetic: bool,
) -> str:
    """The page as HTML text. folder: the subject's in the store. cohort: its folder as parameters name it."""
    record = read_examination(folder)
    reasons = {measure.name: measure.quarantine_reason for measure in MEASURES}
    return render(
        PACKAGE,
        "subject.html",
        "quality.css",
        script=template_text(PACKAGE, "viewer.js"),
        isodoses=ISODOSE_COLOURS,
        subject=quality.participant_id,
        neighbours=neighbours,
        cohort=cohort,
        synthetic=synthetic,
        marks=marks,
        suggested_reason=reasons[marks[0].measure] if marks else "",
        rows=_rows(quality, limits, {mark.measure for mark in marks}),
        record=record,
        registered=_registered(record),
        pixel_mm=f"{PIXEL_MM:g}",
        viewers=_viewers(record),
        pictures={
            sheet: {layer: _data_uri(folder / file) for layer, file in layers.items()}
            for sheet, layers in record["pictures"].items()
        },
        charts=_charts(record, quality),
        frame=charts.FRAME,
    )


def _rows(quality: SubjectQuality, limits: Mapping[str, Limit], marked: set[str]) -> list[dict[str, object]]:
    return [
        {
            "measure": measure,
            "text": measure.with_unit(quality.value(measure.name)),
            "limit": limits[measure.name].text(measure) if measure.name in limits else "",
            "marked": measure.name in marked,
        }
        for measure in MEASURES
    ]


def _registered(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every registered MRI: its title, that of what it was registered to, the numbers and the transform."""
    titles = {mri["name"]: mri["title"] for mri in record["mris"]}
    found = []
    for name, title in titles.items():
        measured = record["measurements"]["mris"][name]
        if measured["registration"] is not None:
            matrix = "\n".join(
                " ".join(f"{value:10.4f}" for value in row) for row in measured["world_from_reference"]
            )
            fixed = titles[measured["registration"]["fixed"]]
            found.append(measured["registration"] | {"title": title, "fixed": fixed, "matrix": matrix})
    return found


def _viewers(record: Mapping[str, Any]) -> list[Viewer]:
    reference, *others = (Over(mri["name"], mri["title"]) for mri in record["mris"])
    last = tuple(Over(over.picture, f"{over.name}, registered") for over in others[:1])
    viewers = [_registration(reference, others)] if others else []
    viewers.append(_brain(reference, last, "own_brain" in record["outlines"]["head"]))
    if crops := record["measurements"]["crops"]:
        viewers.append(_crops(reference, last, crops))
    if "dose" in record["sheets"]:
        viewers.append(_dose(reference, last))
    if "planning_ct" in record["pictures"]["head"]:
        viewers.append(_planning_ct(reference))
    return viewers


def _registration(reference: Over, others: Sequence[Over]) -> Viewer:
    overs = [
        over
        for picture, name in others
        for over in (
            Over(picture, f"{name}, registered"),
            Over(f"{picture}_before", f"{name}, as the headers place it"),
        )
    ]
    return Viewer(
        *("registration", "Registration", "head", reference, tuple(overs), (_brain_outline(shown=False),)),
        about="Slices of the reference scan and of the other scans, alternating",
        caption="Skull, ventricles and sulci should stand still while the pictures alternate; what has grown "
        "or shrunk between the scans may move.",
        plays=True,
    )


def _brain(reference: Over, last: tuple[Over, ...], has_own_brain: bool) -> Viewer:
    own = Outline("own_brain", "last session's own brain", shown=True, dashed=True)
    outlines = (_brain_outline(shown=True), *([own] if has_own_brain else []))
    return Viewer(
        *("brain", "Brain mask", "head", reference, last, outlines),
        about="Slices with the outline of the brain mask",
        caption="The mask should follow the brain's surface, with the cavity and the lesion inside. The last "
        "session's own brain is found for this control alone; where the two part, look at mask and "
        "registration.",
    )


def _crops(reference: Over, last: tuple[Over, ...], crops: Mapping[str, Any]) -> Viewer:
    placed = {"dose": "the high dose", "change": "the change between sessions", "brain": "the brain's middle"}
    outlines = (
        Outline(name, f"around {placed[crop['placed_by']]}", shown=True, dashed=name != "crop")
        for name, crop in crops.items()
    )
    regions = max(crop["high_dose_regions"] for crop in crops.values())
    second = max(crop["second_region"] for crop in crops.values())
    several = (
        f" There are {regions} high-dose regions, the second {second:.0%} as large as the one that the crop "
        "follows."
        if regions > 1
        else ""
    )
    return Viewer(
        *("crops", "Crops", "head", reference, last, (*outlines, _brain_outline(shown=False))),
        about="Slices with the outlines of the crops that networks may see in place of the whole head",
        caption=f"The new lesion should lie inside.{several}",
    )


def _dose(reference: Over, last: tuple[Over, ...]) -> Viewer:
    isodoses = (_isodose(level_gy, shown=True) for level_gy in ISODOSES_GY)
    listed = ", ".join(f"{level_gy:g}" for level_gy in ISODOSES_GY)
    return Viewer(
        *("dose", "Dose", "dose", reference, last, (*isodoses, _brain_outline(shown=False))),
        about=f"Slices around the middle of the high dose, with isodose lines of {listed} Gy",
        caption="The high dose should lie over the resection cavity and what surrounded it. Dose of the "
        "whole course, in Gy as it was given.",
    )


def _planning_ct(reference: Over) -> Viewer:
    outlines = (_brain_outline(shown=True), _isodose(ISODOSES_GY[0], shown=False))
    overs = (Over("planning_ct", "planning CT"),)
    return Viewer(
        *("planning-ct", "Planning CT", "head", reference, overs, outlines),
        about="Slices of the reference scan and of the planning CT, alternating",
        caption="The inside of the skull should follow the brain's outline: the dose follows the CT. Window "
        "-120 to 240 HU.",
    )


def _brain_outline(*, shown: bool) -> Outline:
    return Outline("brain", "brain mask", shown)


def _isodose(level_gy: float, *, shown: bool) -> Outline:
    return Outline(f"isodose_{level_gy:g}", f"{level_gy:g} Gy", shown)


def _charts(record: Mapping[str, Any], quality: SubjectQuality) -> list[dict[str, object]]:
    curves = [
        (mri["title"], f"curve-{number % 4}", record["histograms"][mri["name"]])
        for number, mri in enumerate(record["mris"])
    ]
    titles = "Intensities in the brain", "SDs from the brain's mean", "share of the brain"
    caption = "Standardised within the brain mask. The first and last bin hold all that lies beyond."
    found: list[dict[str, object]] = [
        {"chart": charts.chart(*titles, curves, {}), "caption": caption},
    ]
    if "dose_volume" in record:
        dose = record["measurements"]["dose"]
        rules = {f"{gy:g} Gy": gy for gy in ISODOSES_GY}
        if dose["prescription_gy"] is not None:
            rules["prescription"] = dose["prescription_gy"]
        titles = "Dose-volume histogram of the brain", "dose (Gy)", "volume that gets it or more (ml)"
        chart = charts.chart(*titles, [("brain", "dose", record["dose_volume"])], rules)
        found.append({"chart": chart, "caption": "Cumulative, of the whole course."})
    return found


def _data_uri(picture: Path) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
