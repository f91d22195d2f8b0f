"""One subject's page: pictures that alternate, outlines over them, measures, curves, provenance."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ricenet.runtime.files import read_json
from ricenet.screening.quality import charts
from ricenet.screening.quality.examination import ISODOSES_GY, RECORD
from ricenet.screening.quality.limits import QUARANTINE_REASONS, Limit, Mark
from ricenet.screening.quality.measures import MEASURES, SubjectQuality
from ricenet.screening.quality.mosaic import PIXEL_MM
from ricenet.screening.quality.templating import render


@dataclass(frozen=True)
class Neighbours:
    """The subjects before and after one in the group's order; None at the ends."""

    previous: str | None
    next: str | None


@dataclass(frozen=True)
class Over:
    """A picture that is laid over the first one. name: what the viewer says is showing."""

    picture: str
    name: str
    told: str = ""


@dataclass(frozen=True)
class OutlineChoice:
    """An outline with its checkbox."""

    name: str
    told: str
    shown: bool
    dashed: bool = False


@dataclass(frozen=True)
class Viewer:
    """One place of the page where two pictures of a sheet alternate."""

    name: str
    title: str
    sheet: str
    overs: tuple[Over, ...]
    outlines: tuple[OutlineChoice, ...]
    about: str
    caption: str
    choice: str = ""
    plays: bool = False
    under: str = "post_op"
    under_name: str = "post-op"


def read_examination(folder: Path) -> tuple[SubjectQuality, dict[str, Any]]:
    """A subject's measures and the record that they come from. folder: in the store."""
    record: dict[str, Any] = read_json(folder / RECORD)
    return SubjectQuality.from_json(record["measures"]), record


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
    _, record = read_examination(folder)
    provenance = record["provenance"]
    return render(
        "subject.html",
        "viewer.js",
        subject=quality.participant_id,
        previous=neighbours.previous,
        next=neighbours.next,
        cohort=cohort,
        synthetic=synthetic,
        marks=marks,
        suggested_reason=QUARANTINE_REASONS[marks[0].measure] if marks else "",
        rows=_rows(quality, limits, {mark.measure for mark in marks}),
        event_brain=record["event_brain"],
        pixel_mm=f"{PIXEL_MM:g}",
        viewers=_viewers(record),
        sheets=record["sheets"],
        pictures={
            sheet: {layer: _data_uri(folder / file) for layer, file in layers.items()}
            for sheet, layers in record["pictures"].items()
        },
        outlines=record["outlines"],
        charts=_charts(record, quality),
        frame=charts.FRAME,
        dose_json=record["dose_json"],
        dose_factor=f"{provenance['dose_factor']:g}",
        transform=_matrix_text(provenance["event_world_from_post_op_world"]),
        seed=provenance.get("seed", "not stated"),
        key=provenance.get("key", "not stated"),
        versions=provenance.get("versions", {}),
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


def _viewers(record: Mapping[str, Any]) -> list[Viewer]:
    has_event_brain = "event_brain" in record["outlines"]["head"]
    viewers = [_registration(), _brain(has_event_brain), _dose()]
    if "planning_ct" in record["pictures"]["head"]:
        viewers.append(_planning_ct())
    return viewers


def _registration() -> Viewer:
    return Viewer(
        name="registration",
        title="Registration",
        sheet="head",
        overs=(
            Over("event", "event, registered", "registered"),
            Over("event_before", "event, as the headers place it", "as the headers place it"),
        ),
        choice="Event scan",
        outlines=(OutlineChoice("brain", "brain mask", shown=False),),
        plays=True,
        about="Slices of the post-operative scan and of the event scan, alternating",
        caption="Skull, ventricles and sulci should stand still while the pictures alternate; what has grown "
        "or shrunk between the scans may move.",
    )


def _brain(has_event_brain: bool) -> Viewer:
    mask = OutlineChoice("brain", "brain mask", shown=True)
    own = OutlineChoice("event_brain", "event scan's own brain", shown=True, dashed=True)
    return Viewer(
        name="brain",
        title="Brain mask",
        sheet="head",
        overs=(Over("event", "event, registered"),),
        outlines=(mask, own) if has_event_brain else (mask,),
        about="Slices of both scans with the outline of the brain mask",
        caption="The mask should follow the brain's surface, with the cavity and the lesion inside. The "
        "event scan's own brain is found for this control alone; where the two part, look at mask and "
        "registration.",
    )


def _dose() -> Viewer:
    isodoses = tuple(OutlineChoice(f"isodose_{gy:g}", f"{gy:g} Gy", shown=True) for gy in ISODOSES_GY)
    return Viewer(
        name="dose",
        title="Dose",
        sheet="dose",
        overs=(Over("event", "event, registered"),),
        outlines=(*isodoses, OutlineChoice("brain", "brain mask", shown=False)),
        about="Slices around the middle of the high dose, with isodose lines of 20, 40 and 60 Gy",
        caption="The high dose should lie over the resection cavity and what surrounded it. Dose of the "
        "whole course, in Gy as it was given.",
    )


def _planning_ct() -> Viewer:
    isodose = OutlineChoice(f"isodose_{ISODOSES_GY[0]:g}", f"{ISODOSES_GY[0]:g} Gy", shown=False)
    return Viewer(
        name="planning-ct",
        title="Planning CT",
        sheet="head",
        overs=(Over("planning_ct", "planning CT"),),
        outlines=(OutlineChoice("brain", "brain mask", shown=True), isodose),
        about="Slices of the post-operative scan and of the planning CT, alternating",
        caption="The inside of the skull should follow the brain's outline: the dose follows the CT. Window "
        "-120 to 240 HU.",
    )


def _charts(record: Mapping[str, Any], quality: SubjectQuality) -> list[dict[str, object]]:
    histograms = record["histograms"]
    intensities = charts.chart(
        "Intensities in the brain",
        "SDs from the brain's mean",
        "share of the brain",
        [("post-op", "post_op", histograms["post_op"]), ("event", "event", histograms["event"])],
        {},
    )
    rules = {f"{gy:g} Gy": gy for gy in ISODOSES_GY}
    if quality.dose_of_prescription:
        rules["prescription"] = quality.dose_max_gy / quality.dose_of_prescription
    dose = charts.chart(
        "Dose-volume histogram of the brain",
        "dose (Gy)",
        "volume that gets it or more (ml)",
        [("brain", "dose", record["dose_volume"])],
        rules,
    )
    return [
        {"chart": intensities, "caption": "As the network sees them: standardised within the brain mask. The "
         "first and last bin hold all that lies beyond."},
        {"chart": dose, "caption": "Cumulative, of the whole course."},
    ]  # fmt: skip


def _data_uri(picture: Path) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"


def _matrix_text(matrix: Sequence[Sequence[float]]) -> str:
    return "\n".join(" ".join(f"{value:10.4f}" for value in row) for row in matrix)
