"""A case as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ricenet.display.drawing import set_title
from ricenet.evaluation.occlusion.case import Case, MapSummary, Share
from ricenet.evaluation.occlusion.page import charts
from ricenet.evaluation.occlusion.page.description import (
    ISODOSES_GY,
    VOLUME_TITLES,
    css_gradient,
    map_title,
    reached_isodoses,
    viewer_description,
)
from ricenet.evaluation.occlusion.page.templating import render, viewer_script
from ricenet.evaluation.occlusion.page.thumbnails import thumbnail
from ricenet.evaluation.occlusion.page.volumes import encoded_anatomy, encoded_map
from ricenet.training.predictions import predicted_label
from ricenet.vocabulary import members

FRAME = {"width": charts.WIDTH, "height": charts.HEIGHT, "left": charts.LEFT, "right": charts.RIGHT,
         "top": charts.TOP, "bottom": charts.BOTTOM}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """A volume of the viewer. note: whether the network does not see it."""

    name: str
    title: str
    note: str


@dataclass(frozen=True)
class SummaryTable:
    """A map in numbers, ready to be written. rows of shares: by isodose band, then by region."""

    name: str
    title: str
    groups: tuple[tuple[str, tuple[Share, ...]], ...]
    to_isocentre: str
    to_lesion: str


def case_page(case: Case) -> str:
    """The page as HTML text: viewer, votes, dose-volume histogram, summaries, provenance.

    Volumes are rounded (MRI to 0.01 SD, dose to 0.02 Gy, maps to 1/4000 of their strongest change).
    Raises ResultError: the viewer was not built. ValueError: the grid does not lie along the world axes.
    """
    anatomy = case.anatomy
    description = viewer_description(case)
    reached = reached_isodoses(anatomy.dose_gy)
    return render(
        "case.html",
        case=case,
        subject=anatomy.subject,
        set_title=set_title(case.modality_set),
        description=description,
        panels=[_panel(name, case.modality_set) for name in VOLUME_TITLES],
        volumes={
            **encoded_anatomy(anatomy),
            **{f"map-{name}": encoded_map(change, anatomy.grid) for name, change in case.maps.items()},
        },
        gradient=css_gradient(),
        not_reached=[f"{level:g} Gy" for level in ISODOSES_GY if level not in reached],
        summaries=[_summary(name, case) for name in case.maps if name in case.summaries],
        votes=charts.votes(case),
        vote_rows=[(vote, predicted_label(vote.p_rice)) for vote in case.votes],
        held_out=sum(vote.held_out for vote in case.votes),
        dose_volume=charts.dose_volume(anatomy, reached),
        frame=FRAME,
        picture=base64.b64encode(thumbnail(case)).decode("ascii"),
        script=viewer_script(),
    )


def _panel(name: str, modality_set: str) -> Panel:
    seen = name in members(modality_set)
    return Panel(name, VOLUME_TITLES[name], "" if seen else "no input of this network")


def _summary(name: str, case: Case) -> SummaryTable:
    summary: MapSummary = case.summaries[name]
    groups = (("by dose", tuple(summary.isodoses)), ("by region", tuple(summary.regions)))
    return SummaryTable(
        name=name,
        title=map_title(name, case.modality_set),
        groups=tuple((told, shares) for told, shares in groups if shares),
        to_isocentre=_distance(summary.to_isocentre_mm),
        to_lesion=_distance(summary.to_lesion_mm),
    )


def _distance(millimetres: float | None) -> str:
    return "not known" if millimetres is None else f"{millimetres:.1f} mm"
