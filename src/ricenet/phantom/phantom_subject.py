"""One synthetic subject: everything that is drawn for it, and the files that it consists of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.phantom.acquisition import Placement, event_signal, oblique_grid, place, post_op_signal, scan
from ricenet.phantom.anatomy import Anatomy, FloatArray, Template, head_bounds_mm, make_anatomy
from ricenet.phantom.lesions import Lesions, make_lesions
from ricenet.phantom.mechanism import Evidence, Weights, draw_label, probability_of_rice
from ricenet.phantom.radiotherapy import Plan, make_plan
from ricenet.runtime.files import write_json
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import Label
from ricenet.volume import Affine, Volume, inverse, resample, save_nifti


@dataclass(frozen=True)
class Cause:
    """What decides a subject's label."""

    subject: str
    evidence: Evidence
    p_rice: float
    label: Label


def draw_cause(subject: str, seed: int, weights: Weights) -> Cause:
    """Evidence, probability and label of a subject; cheap, no image is made."""
    evidence = Evidence.draw(generator_for("phantom", seed, subject, "evidence"))
    p_rice = probability_of_rice(evidence, weights)
    return Cause(
        subject, evidence, p_rice, draw_label(p_rice, generator_for("phantom", seed, subject, "label"))
    )


@dataclass(frozen=True)
class SyntheticSubject:
    """A head and its three volumes. dose: Gy, cumulative, in the post-operative scan's space.

    anatomy, lesions and plan lie on one grid in the head's own space; the placements lead from there
    into each scan's.
    """

    cause: Cause
    anatomy: Anatomy
    lesions: Lesions
    plan: Plan
    at_post_op: Placement
    at_event: Placement
    post_op: Volume
    event: Volume
    dose: Volume


def make_subject(template: Template, cause: Cause, seed: int) -> SyntheticSubject:
    """Make a subject's volumes; nothing is written.

    Every part draws from its own stream, so that changing one leaves the others as they were.
    """

    def rng(part: str) -> np.random.Generator:
        return generator_for("phantom", seed, cause.subject, part)

    anatomy = make_anatomy(template, rng("anatomy"))
    lesions = make_lesions(anatomy, cause.evidence, rng("lesions"))
    plan = make_plan(anatomy, lesions, cause.evidence, rng("radiotherapy"))
    spacing_mm = template.grid.spacing_mm[0]
    at_post_op, at_event = (
        place(anatomy, spacing_mm, rng(f"placement-{visit}")) for visit in ("post_op", "event")
    )
    post_op = scan(post_op_signal(anatomy, lesions), anatomy, at_post_op, rng("scan-post_op"))
    event = scan(
        event_signal(anatomy, lesions, cause.evidence.core_enhancement), anatomy, at_event, rng("scan-event")
    )
    dose_grid = oblique_grid(
        head_bounds_mm(anatomy), at_post_op.world_from_anatomy, 1.25 * spacing_mm, rng("dose-grid")
    )
    dose = resample(Volume(plan.dose_gy, anatomy.grid), dose_grid, inverse(at_post_op.world_from_anatomy))
    return SyntheticSubject(cause, anatomy, lesions, plan, at_post_op, at_event, post_op, event, dose)


def write_subject(
    cohort: Path, template: Template, cause: Cause, seed: int, single_fraction_share: float
) -> None:
    """Make a subject's three volumes and its ground truth, and write them into a cohort folder."""
    subject = make_subject(template, cause, seed)
    raw = RawSubject(cohort, cause.subject)
    save_nifti(subject.post_op, raw.scan("post_op"))
    save_nifti(subject.event, raw.scan("event"))
    draw = generator_for("phantom", seed, cause.subject, "single-fraction").uniform()
    single = not cause.evidence.reirradiated and draw < single_fraction_share
    _write_dose(raw, subject.dose, subject.plan, cause.evidence.fractions, single)
    _write_ground_truth(cohort, subject)


def _write_dose(raw: RawSubject, dose: Volume, plan: Plan, fractions: int, single_fraction: bool) -> None:
    divisor = fractions if single_fraction else 1
    values = np.rint(dose.data.astype(np.float64) / divisor * 1e4) / 1e4
    save_nifti(Volume(values.astype(np.float32), dose.grid), raw.scan("dose"))
    write_json(
        raw.dose_sidecar,
        {
            "DoseUnits": "GY",
            "DoseSummationType": "FRACTION" if single_fraction else "PLAN",
            "NumberOfFractions": fractions,
            "PrescriptionGy": plan.prescription_gy,
        },
    )


def _write_ground_truth(cohort: Path, subject: SyntheticSubject) -> None:
    cause, anatomy, lesions, plan = subject.cause, subject.anatomy, subject.lesions, subject.plan
    post_op, event = subject.at_post_op.world_from_anatomy, subject.at_event.world_from_anatomy
    folder = cohort / GROUND_TRUTH / cause.subject
    masks: dict[str, FloatArray | NDArray[np.bool_]] = {
        "brain": anatomy.brain,
        "cavity": lesions.cavity >= 0.5,
        "lesion": lesions.lesion >= 0.5,
        "ptv": plan.ptv,
    }
    # the anatomy's grid moved into the post-operative world: no interpolation touches the truth
    grid = type(anatomy.grid)(anatomy.grid.shape, post_op @ anatomy.grid.affine)
    for name, mask in masks.items():
        save_nifti(Volume(mask.astype(np.bool_), grid), folder / f"{name}.nii.gz")
    write_json(
        folder / "truth.json",
        {
            "p_rice": cause.p_rice,
            "label": cause.label,
            "evidence": vars(cause.evidence),
            "excess_dose_gy": cause.evidence.excess_dose_gy,
            "reirradiated": cause.evidence.reirradiated,
            "residual_thickness_mm": cause.evidence.residual_thickness_mm,
            "core_enhancement": cause.evidence.core_enhancement,
            "event_world_from_post_op_world": (event @ inverse(post_op)).tolist(),
            "post_op_world_from_anatomy": post_op.tolist(),
            "cavity_centre_mm": _moved(post_op, lesions.cavity_centre_mm),
            "lesion_centre_mm": _moved(post_op, lesions.lesion_centre_mm),
            "isocentre_mm": _moved(post_op, plan.isocentre_mm),
        },
    )


def _moved(transform: Affine, point_mm: NDArray[np.float64]) -> list[float]:
    moved: list[float] = (transform[:3, :3] @ point_mm + transform[:3, 3]).tolist()
    return moved
