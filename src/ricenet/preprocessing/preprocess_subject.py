"""One subject from raw files to the network's cube: the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.coarse_head import averaged
from ricenet.cohort.dose_sidecar import read_dose_sidecar
from ricenet.cohort.layout import RawSubject, is_there
from ricenet.cohort.scan_checks import load_scan
from ricenet.config.inputs import InputName
from ricenet.config.preprocessing import PreprocessingParams, RegistrationParams
from ricenet.preprocessing.brain.extraction import FoundBrain, find_brain
from ricenet.preprocessing.crops import Crop, HeadCube, make_crops
from ricenet.preprocessing.cube import (
    INTERPOLATION_ORDER,
    brain_cube,
    dose_on_cube,
    mri_on_cube,
    on_cube,
    require_coverage,
    shown,
)
from ricenet.preprocessing.dose_cube import dose_source, require_dose_in_brain, target
from ricenet.preprocessing.dose_volumes import StructureDose
from ricenet.preprocessing.intensity import scaling_in_brain, standardised
from ricenet.preprocessing.measurements import (
    DoseMeasurements,
    Measurements,
    MriMeasurements,
    RegistrationMeasurements,
    dose_scalars,
    dose_shape_scalars,
    given_dose_scalars,
    raw_intensities,
    share_outside,
)
from ricenet.preprocessing.registration.rigid_registration import RigidResult, register_rigid
from ricenet.runtime.errors import ScanError
from ricenet.runtime.randomness import seed_for
from ricenet.vocabulary import VolumeSpec
from ricenet.volume import Affine, Grid, Volume, inverse

Registrations = Mapping[str, RigidResult]
"""By name of the moving MRI: to the reference of its session, and a session's reference to `reference`."""

Began = Callable[[str], None]
"""Called with a step's name, for people who wait, when it begins."""


@dataclass(frozen=True)
class PreprocessedSubject:
    """Volumes on the cube's grid, by name: MRIs as the network sees them, dose in Gy (cumulative).

    brain: on the cube. brain_mask: as it was found, on its own grid, which may be finer; for people. crops:
    by the name of the input, with volumes in the same units.
    """

    volumes: Mapping[str, Volume]
    brain: Volume
    brain_mask: Volume
    measurements: Measurements
    crops: Mapping[InputName, Crop] = field(default_factory=dict)


def untold(step: str) -> None:
    """Nobody waits to hear which step begins."""
    del step


def preprocess(
    raw: RawSubject, params: PreprocessingParams, seed: int, began: Began = untold
) -> PreprocessedSubject:
    """Register, extract the brain, and bring every volume to the cube around it.

    seed: the project's. began: told of each of `steps`. Raises ScanError: a step failed.
    Source: RICE-NET 2.1.
    """
    *registration_steps, brain_step, cube_step = steps(raw)
    registrations = dict[str, RigidResult]()
    for spec, step in zip(moving(raw), registration_steps, strict=True):
        began(step)
        registrations[spec.name] = register_mri(raw, spec, params.registration, seed)
    require_registered(registrations, raw)
    began(brain_step)
    found = find_brain(raw, params.brain)
    began(cube_step)
    return make_cube(raw, params, registrations, found)


def steps(raw: RawSubject) -> list[str]:
    """What `preprocess` does with a subject, in order, for people."""
    registrations = [f"registration of {spec.title}" for spec in moving(raw)]
    return [*registrations, "brain extraction", "resampling onto the cube"]


def moving(raw: RawSubject) -> list[VolumeSpec]:
    """The MRIs of a subject that are registered: all that there are, but the reference."""
    return [spec for spec in present(raw) if spec.kind == "mri" and spec != raw.volumes.reference]


def present(raw: RawSubject) -> list[VolumeSpec]:
    """The declared volumes that a subject has: the required ones, and optional ones with a file."""
    return [spec for spec in raw.volumes if spec.required or is_there(raw.scan(spec.name))]


def register_mri(raw: RawSubject, spec: VolumeSpec, params: RegistrationParams, seed: int) -> RigidResult:
    """Register an MRI to the reference of its session, on copies of the spacing that is asked for.

    A session's reference is registered to the reference of all. seed: the project's; each patient has its own
    stream. Raises ScanError: the reference of its session is missing.
    """
    reference = raw.volumes.reference_of(spec)
    if not is_there(raw.scan(reference.name)):
        raise ScanError(
            raw.subject,
            spec.title,
            f"cannot be registered without {reference.title}, the reference of its session",
            f"Add {raw.scan(reference.name).name}, or remove {raw.scan(spec.name).name}.",
        )
    # one scan's voxels at a time: a fine one takes half a gigabyte
    fixed, mri = (
        averaged(load_scan(raw.scan(one.name), raw.subject, one.title), params.spacing_mm)
        for one in (reference, spec)
    )
    return register_rigid(
        fixed,
        mri,
        params.metric,
        seed_for("registration", seed, raw.patient),
        spacing_mm=params.spacing_mm,
        transform=params.transform,
    )


def require_registered(registrations: Registrations, raw: RawSubject) -> None:
    """Refuse a registration that explains nothing, less than the headers alone did, or half a head.

    Raises ScanError.
    """
    for name, result in registrations.items():
        if result.failure is not None:
            spec = raw.volumes[name]
            raise ScanError(
                raw.subject,
                spec.title,
                f"registration to {raw.volumes.reference_of(spec).title} failed ({result.failure})",
                "Check that both scans are this patient's, of the declared contrast, and whole heads.",
            )


def make_cube(
    raw: RawSubject, params: PreprocessingParams, registrations: Registrations, found: FoundBrain
) -> PreprocessedSubject:
    """Bring every volume to the cube around the brain, in its physical unit or in SDs, and measure it.

    The reference MRI's world is everybody's: every other MRI comes into it by its registrations, composed.
    Of `params`, those of earlier steps are not read.
    Raises ScanError: brain larger than the cube, an MRI that leaves much of it out, a dose that misses it
    or that cannot become EQD2 where that is asked for.
    Source: RICE-NET 2.1.
    """
    brain_mask = found.mask
    cube = brain_cube(brain_mask, params.spacing_mm, params.cube_voxels, raw.subject)
    brain = on_cube(brain_mask, cube, 1) >= 0.5
    maker = _CubeMaker(raw, params, registrations, brain_mask, cube, brain)
    volumes, mris, dose, in_target = dict[str, Volume](), dict[str, MriMeasurements](), None, None
    scaling = dict[str, tuple[float, float]]()
    for spec in present(raw):
        if spec.kind == "dose":
            volumes[spec.name], dose = maker.dose(spec)
            in_target = target(np.asarray(volumes[spec.name].data, np.float32), brain)
    for spec in present(raw):
        if spec.kind == "mri":
            volumes[spec.name], mris[spec.name], scaling[spec.name] = maker.mri(spec, in_target)
    transforms = {name: world_from_reference(raw.volumes[name], raw, registrations) for name in volumes}
    head = HeadCube(volumes, Volume(brain, cube), transforms, scaling)
    crops = make_crops(raw, params, brain_mask, head)
    measurements = Measurements(
        brain_source=found.source,
        brain_ml=float(brain_mask.data.sum()) * brain_mask.grid.voxel_ml,
        cube_affine=cube.affine.tolist(),
        mris=mris,
        dose=dose,
        crops={name: crop.measurements for name, crop in crops.items()},
    )
    return PreprocessedSubject(volumes, head.brain, brain_mask, measurements, crops)


def world_from_reference(spec: VolumeSpec, raw: RawSubject, registrations: Registrations) -> Affine:
    """From the reference MRI's world into that of an MRI, or of the session whose MRI a dose lies over."""
    own = spec if spec.kind == "mri" else raw.volumes.session_reference(spec.session)
    if own == raw.volumes.reference:
        return np.eye(4)
    before = world_from_reference(raw.volumes.reference_of(own), raw, registrations)
    composed: Affine = registrations[own.name].moving_from_fixed @ before
    return composed


@dataclass(frozen=True)
class _CubeMaker:
    """What every volume of a subject needs to come onto the cube. brain: (X, Y, Z), mask on the cube."""

    raw: RawSubject
    params: PreprocessingParams
    registrations: Registrations
    brain_mask: Volume
    cube: Grid
    brain: NDArray[np.bool_]

    def mri(
        self, spec: VolumeSpec, in_target: NDArray[np.bool_] | None
    ) -> tuple[Volume, MriMeasurements, tuple[float, float]]:
        """As the network sees it, measured, and by which mean and SD it was standardised.

        in_target: the estimated target volume on the cube.
        """
        mri = load_scan(self.raw.scan(spec.name), self.raw.subject, spec.title)
        transform = world_from_reference(spec, self.raw, self.registrations)
        seen = shown(mri.grid, self.cube, self.brain, transform)
        registration = self._registration(spec, float(seen.sum() / max(1, self.brain.sum())))
        given = mri_on_cube(mri, self.cube, INTERPOLATION_ORDER[self.params.interpolation], transform)
        # what it does not show stays 0, as the surroundings of the brain
        scaling = scaling_in_brain(given, seen, spec, self.raw.subject)
        values = standardised(given, seen, *scaling)
        inside = given[seen].astype(np.float64)
        mean, sd = raw_intensities(mri, Volume(self.brain, self.cube), transform)
        target_seen = seen & (in_target if in_target is not None else False)
        measured = MriMeasurements(
            world_from_reference=transform.tolist(),
            raw_mean=mean,
            raw_sd=sd,
            mean_in_sds=float(inside.mean() / inside.std()) if spec.scale is None else None,
            in_target=float(values[target_seen].mean()) if target_seen.any() else None,
            registration=registration,
        )
        return Volume(values, self.cube), measured, scaling

    def dose(self, spec: VolumeSpec) -> tuple[Volume, DoseMeasurements]:
        """The course's dose in Gy, or in Gy EQD2 where that is asked for, and measured."""
        given = load_scan(self.raw.scan(spec.name), self.raw.subject, spec.title)
        sidecar = read_dose_sidecar(self.raw.dose_sidecar)
        transform = world_from_reference(spec, self.raw, self.registrations)
        alpha_beta_gy = self.params.eqd2_alpha_beta_gy
        source, factor = dose_source(given, sidecar, alpha_beta_gy, self.raw.subject)
        dose_gy = dose_on_cube(source, self.cube, factor, transform)
        require_dose_in_brain(given, self.brain_mask, inverse(transform), self.raw.subject)
        given_gy = given.times(sidecar.factor)
        given_inside = inside = StructureDose.of(given_gy, self.brain_mask, inverse(transform))
        if alpha_beta_gy is not None:
            inside = StructureDose.of(source.times(factor), self.brain_mask, inverse(transform))
        measured = DoseMeasurements(
            factor=sidecar.factor,
            prescription_gy=sidecar.prescription_gy,
            eqd2_alpha_beta_gy=alpha_beta_gy,
            **dose_scalars(inside),
            **dose_shape_scalars(inside, dose_gy, self.brain, self.cube),
            **given_dose_scalars(given_inside),
            given_max_gy=float(given_gy.data.max()),
            outside_brain=share_outside(given_gy, given_inside),
        )
        return Volume(dose_gy, self.cube), measured

    def _registration(self, spec: VolumeSpec, share: float) -> RegistrationMeasurements | None:
        """share: of the brain, that the MRI shows. Raises ScanError: too little."""
        if spec == self.raw.volumes.reference:
            return None
        require_coverage(share, self.raw.subject, spec.title)
        fixed = self.raw.volumes.reference_of(spec)
        to_fixed = world_from_reference(fixed, self.raw, self.registrations)
        middle = self.cube.world_mm(np.argwhere(self.brain).mean(axis=0))
        middle = to_fixed[:3, :3] @ middle + to_fixed[:3, 3]
        return RegistrationMeasurements.of(fixed.name, self.registrations[spec.name], middle, share)
