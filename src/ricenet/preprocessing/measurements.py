"""What is measured on a subject while it is preprocessed: read by quality control, evidence and prediction.

Kept as measurements.json beside the volumes. Transforms map world coordinates (RAS, mm); shares are from 0
to 1. The brain is the mask on the cube unless stated otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ricenet.preprocessing.dose_cube import PLATEAU_SHARE, TARGET_SHARE, plateau_gy
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.registration.rigid_registration import RigidResult
from ricenet.runtime.records import Record
from ricenet.vocabulary import Volumes, VolumeSpec
from ricenet.volume import Affine, Grid, Volume, resample, rotation_deg

MEASUREMENTS_FILE = "measurements.json"

SAMPLED_VOXELS = 64
"""Along each axis of the cube, at which raw intensities are sampled."""

LEVELS_GY = (20, 40, 60)

EUD_A = 8
"""Exponent of the brain's equivalent uniform dose: late effects follow its hot parts."""

HIGH_DOSE_SHARE = 0.8
"""Of the plateau dose: the isodose that bounds the high-dose region."""

SHAPE = ("eud8_gy", "high_dose_ml", "edge_gradient_gy_mm", "high_dose_off_middle_mm")
"""Scalars of how a dose lies in the brain."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


class RegistrationMeasurements(Record):
    """How an MRI was registered.

    fixed: the volume it was registered to. similarity: normalised mutual information within the fixed head
    (1 none, 2 identical); before: where the headers put both. head_overlap: Dice coefficient.
    searched: whether turned starts had to be tried. rotation_deg, shift_mm: of the head, and of the brain's
    middle. coverage: share of the brain that the MRI shows.
    """

    fixed: str
    similarity_before: float
    similarity: float
    head_overlap: float
    searched: bool
    rotation_deg: float
    shift_mm: float
    coverage: float

    @classmethod
    def of(cls, fixed: str, result: RigidResult, middle_mm: NDArray[np.float64], coverage: float) -> Self:
        """middle_mm: (3,) of the brain, in the fixed volume's world."""
        transform = result.moving_from_fixed
        moved = transform[:3, :3] @ middle_mm + transform[:3, 3]
        return cls(
            fixed=fixed,
            similarity_before=result.similarity_before,
            similarity=result.similarity,
            head_overlap=result.overlap,
            searched=result.searched,
            rotation_deg=rotation_deg(transform),
            # unlike the translation, it does not depend on the origin
            shift_mm=float(np.linalg.norm(moved - middle_mm)),
            coverage=coverage,
        )


class MriMeasurements(Record):
    """One MRI. world_from_reference: from the reference MRI's world into this one's.

    raw_mean, raw_sd: within the brain in scanner units, before any scaling: a scanner's signature.
    mean_in_sds: the brain's mean on the cube before z-scoring, in SDs of the brain: by so much intensity 0
    lies below z = 0. None of a quantitative MRI, which is not z-scored.
    in_target: mean of the network's values in the estimated planning target volume; None without a dose.
    registration: None of the reference.
    """

    world_from_reference: list[list[float]]
    raw_mean: float
    raw_sd: float
    mean_in_sds: float | None = None
    in_target: float | None = None
    registration: RegistrationMeasurements | None = None


class DoseMeasurements(Record):
    """The dose of the whole course.

    factor: by which the file's Gy were multiplied. eqd2_alpha_beta_gy: None where the dose is as given.
    In the brain, in EQD2 where that is asked for: largest and mean dose, shares of 20, 40, 60 Gy or more, and
    the estimated planning target volume; and as `dose_shape_scalars`.
    As it was given, never EQD2: largest dose anywhere in the file, the brain's volumes of 20, 40, 60 Gy or
    more, and the share of the dose's integral outside the brain.
    Volumes, means and shares are of the dose's own voxels (`StructureDose`), in the brain as it was found.
    """

    factor: float
    prescription_gy: float | None
    eqd2_alpha_beta_gy: float | None
    dose_max_gy: float
    dose_mean_gy: float
    v20: float
    v40: float
    v60: float
    ptv_ml: float
    eud8_gy: float
    high_dose_ml: float
    edge_gradient_gy_mm: float | None
    high_dose_off_middle_mm: float | None
    given_max_gy: float
    given_v20_ml: float
    given_v40_ml: float
    given_v60_ml: float
    outside_brain: float

    @property
    def of_prescription(self) -> float | None:
        """The largest dose as a share of the prescription, where that is known."""
        return None if self.prescription_gy is None else self.given_max_gy / self.prescription_gy


PlacedBy = Literal["dose", "change", "brain"]
"""What a crop lies around: the high-dose region, the largest change between sessions, the brain's middle."""


class CropMeasurements(Record):
    """A crop. voxels: along each axis. high_dose_regions: how many there are; second_region: size of the
    second over the largest, by which the crop is placed. brain_share: of the crop's voxels.
    """

    voxels: int
    affine: list[list[float]]
    placed_by: PlacedBy
    high_dose_regions: int
    second_region: float
    brain_share: float

    @property
    def grid(self) -> Grid:
        """Where it lies, to the last bit."""
        return Grid((self.voxels,) * 3, np.array(self.affine, dtype=np.float64))


class Measurements(Record):
    """One subject. brain_source: "given" with the cohort, "stripped" before, or found by "hd_bet".
    brain_ml: of the brain mask on its own grid. mris: by name, those that there are. crops:
    by the name of the input.
    """

    brain_source: Literal["given", "stripped", "hd_bet"]
    brain_ml: float
    cube_affine: list[list[float]]
    mris: dict[str, MriMeasurements]
    dose: DoseMeasurements | None = None
    crops: dict[str, CropMeasurements] = Field(default_factory=dict)

    @classmethod
    def of_subject(cls, folder: Path) -> Self:
        """Read what preprocessing left of a subject. folder: the subject's under work/preprocessed.

        Raises ResultError: missing, or of another version.
        """
        return cls.read(folder / MEASUREMENTS_FILE, "preprocess")

    def world_from_reference(self, name: str) -> Affine:
        """The transform from the reference MRI's world into that of an MRI."""
        return np.array(self.mris[name].world_from_reference, dtype=np.float64)

    def world_of(self, spec: VolumeSpec, volumes: Volumes) -> Affine:
        """From the reference MRI's world into that of a volume; a dose lies in that of its session's MRI."""
        own = spec if spec.kind == "mri" else volumes.session_reference(spec.session)
        return self.world_from_reference(own.name)

    def cube(self, voxels: int) -> Grid:
        """The cube's grid, to the last bit, which NIfTI does not keep."""
        return Grid((voxels, voxels, voxels), np.array(self.cube_affine, dtype=np.float64))

    def scalars(self, volumes: Volumes) -> dict[str, float | None]:
        """What a table of scalars would know: of the dose in the brain, and of each MRI's intensities.

        None for what a subject lacks. An MRI's are called <name>_mean, <name>_sd and <name>_in_ptv.
        """
        known: dict[str, float | None] = {}
        if volumes.dose is not None:
            names = ("dose_max_gy", "dose_mean_gy", *(f"v{level}" for level in LEVELS_GY), "ptv_ml", *SHAPE)
            known |= {name: getattr(self.dose, name, None) for name in names}
        for spec in volumes.mris:
            of_mri = self.mris.get(spec.name)
            for name, field in (("mean", "raw_mean"), ("sd", "raw_sd"), ("in_ptv", "in_target")):
                known[f"{spec.name}_{name}"] = getattr(of_mri, field, None)
        return known


def dose_scalars(inside: StructureDose) -> dict[str, float]:
    """Dose in the brain: largest, mean, shares of 20, 40 and 60 Gy or more, and the target's volume."""
    plateau = inside.hottest_gy(PLATEAU_SHARE)
    return {
        "dose_max_gy": inside.max_gy,
        "dose_mean_gy": inside.mean_gy,
        **{f"v{level}": inside.volume_ml(level) / inside.total_ml for level in LEVELS_GY},
        "ptv_ml": inside.volume_ml(TARGET_SHARE * plateau) if plateau > 0 else 0.0,
    }


def dose_shape_scalars(
    inside: StructureDose, dose_gy: Floats, brain: Mask, grid: Grid
) -> dict[str, float | None]:
    """How the dose lies in the brain.

    inside: the dose in the brain. dose_gy, brain: (X, Y, Z) on a grid whose axes are at right angles; places
    and slopes are taken there.
    eud8_gy: generalised equivalent uniform dose, (mean of dose^8)^(1/8). high_dose_ml: what gets 80 % of the
    plateau dose or more. edge_gradient_gy_mm: mean size of the dose's gradient in those of its voxels that
    touch a lower dose; None where none does. high_dose_off_middle_mm: from its centroid to the brain's; None
    where there is no such dose.
    """
    level = HIGH_DOSE_SHARE * plateau_gy(dose_gy, brain)
    above = (dose_gy >= level) & (dose_gy > 0)
    high = above & brain
    plateau = inside.hottest_gy(PLATEAU_SHARE)
    gradients = _edge_gradients(dose_gy, above, brain, grid)
    middles = [grid.world_mm(np.argwhere(mask).mean(axis=0)) for mask in (high, brain) if mask.any()]
    return {
        "eud8_gy": inside.equivalent_uniform_gy(EUD_A),
        "high_dose_ml": inside.volume_ml(HIGH_DOSE_SHARE * plateau) if plateau > 0 else 0.0,
        "edge_gradient_gy_mm": float(gradients.mean()) if len(gradients) else None,
        "high_dose_off_middle_mm": float(np.linalg.norm(middles[0] - middles[1])) if high.any() else None,
    }


def _edge_gradients(dose_gy: Floats, above: Mask, brain: Mask, grid: Grid) -> NDArray[np.float64]:
    """Size of the gradient in Gy/mm, (K,), where the region borders on a lower dose within the brain."""
    from scipy import ndimage

    # beyond the cube is no lower dose; the brain's surface is no isodose
    edge = above & brain & ~ndimage.binary_erosion(above, border_value=1)
    gradient = np.gradient(dose_gy.astype(np.float64), *grid.spacing_mm)
    found: NDArray[np.float64] = np.sqrt(sum(part[edge] ** 2 for part in gradient))
    return found


def given_dose_scalars(inside: StructureDose) -> dict[str, float]:
    """The brain's volumes of 20, 40 and 60 Gy or more, of the dose as given."""
    return {f"given_v{level}_ml": inside.volume_ml(level) for level in LEVELS_GY}


def share_outside(dose_gy: Volume, inside: StructureDose) -> float:
    """Share of a dose's integral outside the brain, on the dose's own grid, of which no voxel is lost.

    dose_gy: not 0 everywhere. Voxels that the brain fills in part count in part.
    """
    whole = float(np.maximum(dose_gy.data, 0).sum(dtype=np.float64)) * dose_gy.grid.voxel_ml
    return 1.0 - inside.integral_gy_ml / whole


def raw_intensities(mri: Volume, brain: Volume, mri_from_brain: Affine) -> tuple[float, float]:
    """Mean and SD of an MRI in what it shows of the brain, in scanner units.

    brain: mask on the cube. At SAMPLED_VOXELS along each axis at most, evenly spread: more would not change
    a mean.
    """
    step = -(-max(brain.grid.shape) // SAMPLED_VOXELS)
    values = resample(mri, brain.grid.every(step), mri_from_brain, outside=np.nan).data
    sampled = values[brain.data[::step, ::step, ::step] & np.isfinite(values)]
    return float(sampled.mean(dtype=np.float64)), float(sampled.std(dtype=np.float64))
