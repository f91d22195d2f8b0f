"""One synthetic subject: everything that is drawn for it, and the files that it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import GROUND_TRUTH, RawSubject
from ricenet.phantom.acquisition import Placement, oblique_grid, place, scan
from ricenet.phantom.anatomy import Anatomy, FloatArray, head_bounds_mm, make_anatomy
from ricenet.phantom.contrasts import Contrast, contrast_of, signal_of
from ricenet.phantom.irradiation import Plan, make_plan
from ricenet.phantom.lesions import Lesions, make_lesions, without_lesion
from ricenet.phantom.mechanism import Evidence, Mechanism, draw_label, log_odds_of_rice, probability_of_rice
from ricenet.phantom.scanners import NOMINAL, Scanner
from ricenet.runtime.files import write_json
from ricenet.runtime.randomness import generator_for
from ricenet.vocabulary import PAPER_VOLUMES, POST_RT, PREVIOUS, Volumes, VolumeSpec
from ricenet.volume import Affine, Volume, inverse, resample, save_nifti

CONTROL_LABEL = "stable"
"""Of a subject without an event: no lesion has come since surgery."""

OF_ANY_HEAD = ("dose", "post_op")
"""Evidence that a head shows without a lesion at the event."""

AFTER_SURGERY = "postop"
WITHOUT_LESION = (AFTER_SURGERY, POST_RT)
"""Sessions whose MRIs show the head after surgery; those of any other session show the event."""


@dataclass(frozen=True)
class Cause:
    """What decides a subject's label. scanner: where it is scanned, which decides nothing."""

    subject: str
    evidence: Evidence
    p_rice: float
    label: str
    scanner: Scanner = NOMINAL

    @property
    def has_lesion(self) -> bool:
        """Whether there was an event: none of a control."""
        return self.label != CONTROL_LABEL

    def stream(self, seed: int, part: str) -> np.random.Generator:
        """A part's own generator: changing one part leaves the others as they were."""
        return generator_for("phantom", seed, self.subject, part)


def draw_cause(subject: str, seed: int, mechanism: Mechanism) -> Cause:
    """Evidence, probability and label of a subject; cheap, no image is made."""
    evidence = Evidence.draw(generator_for("phantom", seed, subject, "evidence"), mechanism)
    p_rice = probability_of_rice(evidence, mechanism)
    label = draw_label(p_rice, generator_for("phantom", seed, subject, "label"))
    return Cause(subject, evidence, p_rice, label)


def least_intercept_for_rice(subject: str, seed: int, mechanism: Mechanism) -> float:
    """The mechanism's intercept beyond which `draw_cause` makes this subject RICE."""
    evidence = Evidence.draw(generator_for("phantom", seed, subject, "evidence"), mechanism)
    needed = generator_for("phantom", seed, subject, "label").uniform()
    rest = log_odds_of_rice(evidence, mechanism) - mechanism.intercept
    return float(np.log(needed) - np.log1p(-needed) - rest)


@dataclass(frozen=True)
class Head:
    """A head with its lesions and radiotherapy, on one grid in its own space."""

    cause: Cause
    anatomy: Anatomy
    lesions: Lesions
    plan: Plan

    def scanned(
        self, contrast: Contrast, placement: Placement, rng: np.random.Generator, *, at_event: bool
    ) -> Volume:
        """An MRI of the head, after surgery or at the event."""
        signal = signal_of(contrast, self.anatomy, self.lesions, self.cause.evidence, rng, at_event=at_event)
        return scan(signal, contrast, self.anatomy, placement, rng, self.cause.scanner)


@dataclass(frozen=True)
class SyntheticSubject(Head):
    """A head and its volumes by name. The dose is in Gy, cumulative, in the reference MRI's space."""

    placements: Mapping[str, Placement]
    scans: Mapping[str, Volume]

    def world_from_anatomy(self, name: str) -> Affine:
        """From the head's own space into that of an MRI."""
        return self.placements[name].world_from_anatomy


def make_subject(
    template: Anatomy, cause: Cause, seed: int, volumes: Volumes = PAPER_VOLUMES
) -> SyntheticSubject:
    """Make a subject's volumes; nothing is written."""
    anatomy = make_anatomy(template, cause.stream(seed, "anatomy"))
    lesions = make_lesions(anatomy, cause.evidence, cause.stream(seed, "lesions"))
    plan = make_plan(anatomy, lesions, cause.evidence, cause.stream(seed, "radiotherapy"))
    if not cause.has_lesion:
        # once all else is drawn, so that the head and its treatment are those of a subject with an event
        lesions = without_lesion(lesions)
    head, spacing_mm = Head(cause, anatomy, lesions, plan), template.grid.spacing_mm[0]
    placements: dict[str, Placement] = {}
    scans: dict[str, Volume] = {}
    for spec in made_volumes(volumes).mris:
        placement = place(anatomy, spacing_mm, cause.stream(seed, f"placement-{spec.name}"))
        rng, at_event = cause.stream(seed, f"scan-{spec.name}"), spec.session not in WITHOUT_LESION
        scans[spec.name] = head.scanned(contrast_of(spec.suffix), placement, rng, at_event=at_event)
        placements[spec.name] = placement
    if volumes.dose is not None:
        in_reference = placements[volumes.reference.name].world_from_anatomy
        rng = cause.stream(seed, "dose-grid")
        grid = oblique_grid(head_bounds_mm(anatomy), in_reference, 1.25 * spacing_mm, rng)
        scans[volumes.dose.name] = resample(Volume(plan.dose_gy, anatomy.grid), grid, inverse(in_reference))
    return SyntheticSubject(**vars(head), placements=placements, scans=scans)


def write_subject(
    cohort: Path,
    template: Anatomy,
    cause: Cause,
    seed: int,
    single_fraction_share: float,
    volumes: Volumes = PAPER_VOLUMES,
) -> SyntheticSubject:
    """Make a subject's volumes and its ground truth, and write them into a cohort folder; returns it."""
    subject = make_subject(template, cause, seed, volumes)
    raw = RawSubject(cohort, cause.subject, volumes)
    for spec in made_volumes(volumes).mris:
        save_nifti(subject.scans[spec.name], raw.scan(spec.name))
    if volumes.dose is not None:
        draw = cause.stream(seed, "single-fraction").uniform()
        single = not cause.evidence.reirradiated and draw < single_fraction_share
        _write_dose(raw, volumes.dose, subject, single)
    write_ground_truth(cohort, subject, volumes)
    return subject


def made_volumes(volumes: Volumes) -> Volumes:
    """Those that are made: what lies before an event is an earlier visit's scan, if there is one."""
    return Volumes(spec for spec in volumes if spec.session != PREVIOUS)


def _write_dose(raw: RawSubject, spec: VolumeSpec, subject: SyntheticSubject, single_fraction: bool) -> None:
    evidence, dose = subject.cause.evidence, subject.scans[spec.name]
    fractions, courses = evidence.fractions, [course.as_json for course in evidence.courses]
    divisor = fractions if single_fraction else 1
    values = np.rint(dose.data.astype(np.float64) / divisor * 1e4) / 1e4
    save_nifti(Volume(values.astype(np.float32), dose.grid), raw.scan(spec.name))
    write_json(
        raw.dose_sidecar,
        {
            "DoseUnits": "GY",
            "DoseSummationType": "FRACTION" if single_fraction else "PLAN",
            "NumberOfFractions": fractions,
            "PrescriptionGy": subject.plan.prescription_gy,
        }
        | ({"Courses": courses} if courses else {})
        | ({"PlansSummed": len(courses)} if len(courses) > 1 else {}),
    )


def write_ground_truth(cohort: Path, subject: SyntheticSubject, volumes: Volumes) -> None:
    """Write what only the cohort's maker knows of a subject, or of one of its visits."""
    cause, anatomy, lesions, plan = subject.cause, subject.anatomy, subject.lesions, subject.plan
    reference, event = volumes.reference, volumes.last_session_reference
    post_op = subject.world_from_anatomy(reference.name)
    folder = cohort / GROUND_TRUTH / cause.subject
    masks: dict[str, FloatArray | NDArray[np.bool_]] = {
        "brain": anatomy.brain,
        "cavity": lesions.cavity >= 0.5,
        "lesion": lesions.lesion >= 0.5,
        "ptv": plan.ptv,
    }
    if not cause.has_lesion:
        del masks["lesion"]
    if lesions.remote is not None:
        masks["remote"] = lesions.remote >= 0.5
    # the anatomy's grid moved into the post-operative world: no interpolation touches the truth
    grid = type(anatomy.grid)(anatomy.grid.shape, post_op @ anatomy.grid.affine)
    for name, mask in masks.items():
        save_nifti(Volume(mask.astype(np.bool_), grid), folder / f"{name}.nii.gz")
    further = {
        spec.name: (subject.world_from_anatomy(spec.name) @ inverse(post_op)).tolist()
        for spec in made_volumes(volumes).mris
        if spec not in (reference, event)
    }
    to_event = subject.world_from_anatomy(event.name) @ inverse(post_op)
    write_json(
        folder / "truth.json",
        ({"p_rice": cause.p_rice} if cause.has_lesion else {})
        | {
            "label": cause.label,
            "evidence": {
                name: value
                for name, value in cause.evidence.features.items()
                if cause.has_lesion or name in OF_ANY_HEAD
            },
        }
        | ({"excess_dose_gy": cause.evidence.excess_dose_gy} if cause.evidence.escalated else {})
        | {
            "reirradiated": cause.evidence.reirradiated,
            "residual_thickness_mm": cause.evidence.residual_thickness_mm,
        }
        | ({"core_enhancement": cause.evidence.core_enhancement} if cause.has_lesion else {})
        | {
            "event_world_from_post_op_world": to_event.tolist(),
            "post_op_world_from_anatomy": post_op.tolist(),
            "cavity_centre_mm": moved(post_op, lesions.cavity_centre_mm).tolist(),
            "isocentre_mm": moved(post_op, plan.isocentre_mm).tolist(),
        }
        | (
            {"lesion_centre_mm": moved(post_op, lesions.lesion_centre_mm).tolist()}
            if cause.has_lesion
            else {}
        )
        | ({"world_from_post_op_world": further} if further else {}),
    )


def moved(transform: Affine, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point (3,) in another space."""
    result: NDArray[np.float64] = transform[:3, :3] @ point_mm + transform[:3, 3]
    return result
