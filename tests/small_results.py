"""A project folder with tiny results of every stage, made by hand for tests of what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from preprocessed_subjects import image_of, mask_of, save_measurements, save_volumes

from ricenet.cohort import splits
from ricenet.cohort.layout import RawSubject
from ricenet.runtime.tables import table_text
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

LABELS = {f"sub-{i:03d}": ("rice" if i % 2 else "recurrence") for i in range(1, 11)}
FOLDS = [["sub-001", "sub-002", "sub-003", "sub-004"], ["sub-005", "sub-006", "sub-007", "sub-008"]]
TEST = ["sub-009", "sub-010"]
GRID = Grid.cube(np.array([3.0, -8.0, 12.0]), 8.0, 20)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_splits(project: Path) -> None:
    folds = tuple(tuple(fold) for fold in FOLDS)
    splits.write_splits(splits.Splits(LABELS, folds, tuple(TEST)), project / "work/splits/splits.json")


def p_rice_of(modality_set: str, subject: str) -> float:
    """Right for all subjects, except that post_op gets sub-001 (rice) and sub-002 (recurrence) wrong."""
    right = 0.9 if LABELS[subject] == "rice" else 0.2
    return 1 - right if modality_set == "post_op" and subject in ("sub-001", "sub-002") else right


def write_fold(project: Path, modality_set: str, fold: int, epochs: int = 4) -> None:
    folder = project / "work/training" / modality_set / f"fold-{fold}"
    rows = [[s, LABELS[s], fold, p_rice_of(modality_set, s)] for s in FOLDS[fold]]
    write_text(folder / "predictions.tsv", table_text(["participant_id", "label", "fold", "p_rice"], rows))
    history = [
        [e, 0.7 / e + fold / 10, 1 - 0.5 / e, 0.8 / e + fold / 10, 1 - 0.6 / e] for e in range(1, epochs + 1)
    ]
    header = ["epoch", "train_loss", "train_macro_f1", "validation_loss", "validation_macro_f1"]
    write_text(folder / "history.csv", table_text(header, history, ","))


def write_training(project: Path) -> None:
    for name in PAPER_VOLUMES.sets:
        for fold in range(len(FOLDS)):
            write_fold(project, name, fold)


def ball(centre: tuple[float, float, float], radius_voxels: float) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij")
    return sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= radius_voxels**2


def write_preprocessed(project: Path, subject: str) -> None:
    folder = project / "work/preprocessed" / subject
    brain, plateau = ball((9.5, 9.5, 9.5), 8.5), ball((13, 12, 11), 3)
    rng = np.random.default_rng(3)
    mri = np.where(brain, rng.normal(size=brain.shape), 0).astype(np.float32)
    distance = np.sqrt(sum((np.indices(brain.shape)[a] - c) ** 2 for a, c in enumerate((13, 12, 11))))
    dose_gy = np.where(plateau, 60, 60 * np.exp(-np.maximum(distance - 3, 0) / 3)).astype(np.float32)
    for name, data in (("post_op", mri), ("event", mri), ("dose", dose_gy), ("brain", brain)):
        save_nifti(Volume(data, GRID), image_of(folder, name))
    volumes = np.stack([mri, mri, dose_gy / 60]).astype(np.float16)
    save_volumes(folder, volumes)
    save_measurements(folder)


def write_raw_dose(project: Path, cohort: Path, subject: str) -> None:
    """The raw dose and the brain mask from which `write_preprocessed` could have been made."""
    raw, folder = RawSubject(cohort, subject), project / "work/preprocessed" / subject
    save_nifti(load_nifti(image_of(folder, "dose")), raw.scan("dose"))
    save_nifti(load_nifti(image_of(folder, "brain")), mask_of(folder))
    write_json(raw.dose_sidecar, {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30})


def write_ground_truth(cohort: Path, subject: str) -> None:
    for name, centre in (("cavity", (12, 12, 11)), ("lesion", (14, 10, 11))):
        mask = ball(centre, 2.5)
        save_nifti(Volume(mask, GRID), cohort / "ground_truth" / subject / f"{name}.nii.gz")
    write_json(cohort / "ground_truth/mechanism.json", {"mechanism": "dose_height"})
