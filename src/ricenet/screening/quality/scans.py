"""What quality control looks at: a subject's raw volumes, and what preprocessing found out about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ricenet.cohort.dose_sidecar import DoseSidecar, read_dose_sidecar
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import BrainParams
from ricenet.preprocessing.brain.extraction import extract_brain
from ricenet.preprocessing.brain.mask import BRAIN_MASK
from ricenet.runtime.errors import ScanError
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import require
from ricenet.volume import Affine, Volume, load_nifti

EVENT_BRAIN_SPACING_MM = 2.0
"""Of the grid on which HD-BET looks for the event scan's brain: coarse, being a check (docs/quality.md)."""

SIDECAR_KEYS = (
    *("DoseUnits", "DoseSummationType", "NumberOfFractions", "PrescriptionGy", "DoseType"),
    *("PlansSummed", "BeamsSummed", "SourceSummationType", "DosePlacement", "Decisions"),
)
"""What of a dose's JSON is shown; further keys are the user's own and may identify."""


@dataclass(frozen=True)
class Scans:
    """One subject's volumes, each on its own grid. dose: Gy of the course as it was given, never EQD2.

    brain: the mask that preprocessing used, in the post-op scan's space. event_from_post_op: world transform.
    planning_ct: Hounsfield units, in the post-op scan's space; None where the cohort has none.
    provenance, dose_json: what preprocessing and the dose's JSON say, as far as it is shown.
    """

    subject: str
    post_op: Volume
    event: Volume
    dose: Volume
    brain: Volume
    planning_ct: Volume | None
    event_from_post_op: Affine
    sidecar: DoseSidecar
    provenance: Mapping[str, Any]
    dose_json: Mapping[str, Any]


@dataclass(frozen=True)
class EventBrain:
    """The brain as the event scan alone shows it, on a grid in that scan's space.

    mask: None where none was found. origin: how it was found, or why not, for people.
    """

    mask: Volume | None
    origin: str


def read_scans(raw: RawSubject, preprocessed: Path) -> Scans:
    """Read one subject. preprocessed: the subject's folder there.

    Raises ResultError: a file of preprocessing is missing. ScanError: the dose's JSON cannot be read.
    """
    brain = load_nifti(require(preprocessed / BRAIN_MASK, "preprocess"))
    provenance = read_json(require(preprocessed / "provenance.json", "preprocess"))
    sidecar = read_dose_sidecar(raw.dose_sidecar)
    dose = load_nifti(raw.scan("dose"))
    content = read_json(raw.dose_sidecar)
    return Scans(
        subject=raw.subject,
        post_op=load_nifti(raw.scan("post_op")),
        event=load_nifti(raw.scan("event")),
        dose=Volume(np.asarray(dose.data * np.float32(sidecar.factor), dtype=np.float32), dose.grid),
        brain=Volume(brain.data > 0.5, brain.grid),
        planning_ct=load_nifti(raw.planning_ct) if raw.planning_ct.is_file() else None,
        event_from_post_op=np.array(provenance["event_world_from_post_op_world"], dtype=np.float64),
        sidecar=sidecar,
        provenance=provenance,
        dose_json={key: content[key] for key in SIDECAR_KEYS if key in content},
    )


def find_event_brain(scans: Scans, *, skull_stripped: bool, settings: BrainParams) -> EventBrain:
    """The event scan's own brain: by HD-BET's fast network, or where there is no skull, all that is not 0.

    settings: precision and device are taken from it; the engine is always the quick one.
    A failure is an answer here, so none is raised.
    """
    if skull_stripped:
        mask = Volume(scans.event.data > 0, scans.event.grid)
        return EventBrain(mask, "all voxels above 0: the scans come without their skull")
    try:
        mask = extract_brain(
            scans.event,
            scans.subject,
            mode="fast",
            mirroring=False,
            precision=settings.precision,
            device=settings.device,
            spacing_mm=EVENT_BRAIN_SPACING_MM,
            scan="event T1ce",
        )
    except ScanError as error:
        return EventBrain(None, f"not found: {error.found}")
    return EventBrain(mask, f"HD-BET, fast, on a grid of {EVENT_BRAIN_SPACING_MM:g} mm")
