"""The dose where the new lesion lies, of subjects whose lesion was segmented; each subject's once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ricenet.cohort.layout import RawSubject, is_there
from ricenet.config.inputs import InputGrid
from ricenet.config.params import ExecutionParams
from ricenet.preprocessing.measurements import MEASUREMENTS_FILE, Measurements
from ricenet.preprocessing.network_input import map_volume, volume_file
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.files import content_digest, file_digest, read_json, write_json
from ricenet.runtime.per_subject import per_subject
from ricenet.runtime.store import Store
from ricenet.runtime.tables import require
from ricenet.vocabulary import Volumes
from ricenet.volume import load_nifti, resample, supersampling_for

LESION_DOSE = ("lesion_dose_gy", "lesion_gradient_gy_mm")

PRELOAD = ("ricenet.evaluation.evidence.lesion_dose", "nibabel", "scipy.ndimage")
"""What every worker needs."""

_FILE = "lesion_dose.json"


@dataclass(frozen=True)
class LesionDoses:
    """Where doses at lesions are measured, and how. root: of the raw cohort. head, dose_unit_gy: as
    `dose_at_lesion` takes them.
    """

    root: Path
    volumes: Volumes
    preprocessed: Path
    head: InputGrid
    dose_unit_gy: float

    def __call__(self, subject: str, folder: Path) -> None:
        """Measure one subject's into a folder."""
        raw = RawSubject(self.root, subject, self.volumes)
        found = dose_at_lesion(raw, self.preprocessed / subject, self.head, self.dose_unit_gy)
        write_json(folder / _FILE, found)

    def of(
        self, subjects: Iterable[str], execution: ExecutionParams, store: Store
    ) -> dict[str, dict[str, float]]:
        """Of every subject what `dose_at_lesion` finds, from the store where nothing of it has changed.

        Raises ResultError: a subject is not preprocessed. CohortError: files are damaged; all subjects with
        such are named.
        """
        code = code_digest("ricenet.evaluation.evidence.lesion_dose")
        common = [self.head.content, self.dose_unit_gy, version("scipy"), version("numpy"), code]
        keys = {subject: content_digest([subject, self._files(subject), *common]) for subject in subjects}
        # relative paths would not be those of a worker elsewhere
        work = replace(self, root=self.root.absolute(), preprocessed=self.preprocessed.absolute())
        folders = per_subject("dose at the lesion", work, keys, store, execution, preload=PRELOAD)
        return {subject: read_json(folder / _FILE) for subject, folder in folders.items()}

    def _files(self, subject: str) -> dict[str, str]:
        """What is read, by content."""
        folder, dose = self.preprocessed / subject, self.volumes.dose
        mask = RawSubject(self.root, subject, self.volumes).lesion_mask
        files = {"measured": require(folder / MEASUREMENTS_FILE, "preprocess"), "mask": mask}
        if dose is not None:
            files["dose"] = folder / volume_file(dose.name, self.head.suffix)
        return {name: file_digest(path) for name, path in files.items() if is_there(path)}


def dose_at_lesion(raw: RawSubject, folder: Path, head: InputGrid, dose_unit_gy: float) -> dict[str, float]:
    """Mean dose in the new lesion, and mean size of the dose's gradient there.

    folder: of the preprocessed subject. head: the grid of the whole head, on which both are taken: voxels
    that the lesion fills in part count in part. dose_unit_gy: of the preprocessed dose, which is EQD2 where
    that was asked for. Empty without a mask or a dose, or where the lesion lies outside the head's cube.
    Raises ResultError, ScanError: preprocessed files are missing or damaged.
    """
    measured, dose = Measurements.of_subject(folder), raw.volumes.dose
    if dose is None or measured.dose is None or not is_there(raw.lesion_mask):
        return {}
    cube, mask = measured.cube(head.voxels), load_nifti(raw.lesion_mask)
    # a synthetic cohort's masks are all in the space of the reference MRI
    own = raw.lesion_mask.is_relative_to(raw.folder)
    last = raw.volumes.last_session_reference.name
    mask_from_cube = measured.world_from_reference(last) if own else np.eye(4)
    points = supersampling_for(mask.grid, cube, mask_from_cube)
    share = resample(mask, cube, mask_from_cube, supersampling=points).data
    if not share.any():
        return {}
    dose_gy = map_volume(folder, raw.subject, dose.name, head).astype(np.float64) * dose_unit_gy
    gradient = np.sqrt(sum(part**2 for part in np.gradient(dose_gy, *cube.spacing_mm)))
    means = (float(np.average(values, weights=share)) for values in (dose_gy, gradient))
    return dict(zip(LESION_DOSE, means, strict=True))
