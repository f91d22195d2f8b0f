"""A project folder after training and evaluation of two modality sets, with networks as small as they get."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from preprocessed_subjects import save_summary, save_volumes
from small_ensembles import ensemble_record, write_untrained
from small_evidence import evidence, scores, write_evidence
from small_results import FOLDS, LABELS, p_rice_of, write_fold, write_json, write_splits, write_text

from ricenet.config.network_params import ResNetParams
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.evaluation.evidence.gate import SHARED, GateFold, GateRecord
from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore, open_store
from ricenet.training.predictions import Prediction
from ricenet.training.variables import VariableEncoder
from ricenet.vocabulary import VariableSpec

SETS = ("dose", "post_op+dose")
NETWORK = ResNetParams(widen_factor=1 / 64, stem_stride=2)
CUBE_VOXELS = 8
PREFIX = "rice-net"
EPOCHS = 4
PARAMETERS = {"training.epochs": EPOCHS, "training.learning_rate": 1e-3}
COMMIT = "c" * 40
EVALUATION = {
    "dose": {
        "macro_f1_mean": 0.75,
        "macro_f1_sd": 0.05,
        "macro_f1_folds": [0.7, 0.8],
        "macro_f1_pooled": 0.74,
        "confusion": [[3, 1], [1, 3]],
        "n": 8,
    },
    "post_op+dose": {
        "macro_f1_mean": 0.8,
        "macro_f1_sd": 0.1,
        "macro_f1_folds": [0.7, 0.9],
        "macro_f1_pooled": 0.79,
        "confusion": [[4, 0], [2, 2]],
        "n": 8,
    },
}


SCORES = {"post_op+dose": 0.79, "dose": 0.74}
"""Pooled macro-F1s of the evidence."""


VARIABLES = (
    VariableSpec(name="age_years", kind="number", unit="years"),
    VariableSpec(name="rt_modality", kind="category"),
)
ENCODER = VariableEncoder.fitted(
    VARIABLES,
    [{"age_years": 50.0, "rt_modality": "photon"}, {"age_years": 60.0, "rt_modality": "proton"}],
)
"""Of the ensembles, whose networks use no variables."""


def make_project(project: Path) -> Path:
    """Everything that the stages up to `explain` leave behind."""
    write_splits(project)
    save_summary(project / "work/preprocessed", "p" * 64)
    cohort = {"root": "data/demo", "digest": "d" * 64, "subjects": [], "excluded": []}
    write_json(project / "work/cohort/cohort.json", cohort)
    write_json(project / "work/cohort/excluded.json", {"subjects": []})
    write_volumes(project)
    shutil.copy(Path(__file__).parents[1] / "params.yaml", project)
    for name in SETS:
        train(project, name, seed=7)
    write_json(project / "work/evaluation/metrics.json", EVALUATION)
    write_text(project / "work/evaluation/figures/macro_f1.png", "a figure")
    write_text(project / "work/explain/dose/sub-001/figure.png", "an occlusion map")
    return project


def write_volumes(project: Path) -> None:
    for subject in ("sub-009", "sub-010"):
        folder = project / "work/preprocessed" / subject
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(int(subject[-3:])).normal(size=(3, *[CUBE_VOXELS] * 3))
        save_volumes(folder, values.astype(np.float16))


def train(project: Path, modality_set: str, seed: int) -> str:
    """What the training of a set leaves; another seed is another training. Returns the ensemble's digest."""
    keys = [f"key-{modality_set}-{fold}-{seed}" for fold in range(2)]
    for fold, key in enumerate(keys):
        write_fold(project, modality_set, fold, EPOCHS)
        trained = {"modality_set": modality_set, "fold": fold, "key": key, "seed": seed}
        trained |= {"parameters": PARAMETERS, "train_subjects": 4, "validation_subjects": 4}
        trained |= {"commit": COMMIT, "uncommitted_changes": False}
        write_json(project / "work/training" / modality_set / f"fold-{fold}" / "fold.json", trained)
    record = ensemble_record(
        modality_set,
        network=NETWORK,
        variables=VARIABLES,
        encoders=(ENCODER, ENCODER),
        fold_keys=tuple(keys),
        data_digest="d" * 64,
        preprocessing_digest="p" * 64,
        splits_digest=read_json(project / "work/splits/splits.json")["digest"],
        preprocessing={
            "cube_voxels": CUBE_VOXELS,
            "spacing_mm": 8.0,
            "dose_unit_gy": 60.0,
            "brain": {"mode": "fast"},
        },
    )
    digest = write_untrained(project / "models/ensembles" / modality_set, record, seed)
    made = evidence(read_json(project / "work/splits/splits.json")["digest"])
    of_sets = {name: scores(value, 0.1) for name, value in SCORES.items()}
    write_evidence(project, made.model_copy(update={"sets": of_sets}))
    write_gate(project, modality_set)
    return digest


RECALIBRATION = Recalibration(method="temperature", slope=0.5, intercept=0.0)


def write_gate(project: Path, modality_set: str, **changes: object) -> None:
    """The gate's record of the ensemble at hand, which passes unless changes say otherwise."""
    ensemble = read_json(project / "models/ensembles" / modality_set / "ensemble.json")
    digests = {name: name[0] * 64 for name in SHARED}
    record = GateRecord(
        modality_set=modality_set,
        ensemble_digest=ensemble["digest"],
        folds=tuple(
            GateFold(fold=k, digests=digests, training=tuple(FOLDS[1 - k]), validation=tuple(FOLDS[k]))
            for k in range(2)
        ),
        failed_guards=(),
        macro_f1=Estimate(value=0.8, low=0.6, high=0.9, method="bca"),
        chance_macro_f1=0.5,
        recalibration=RECALIBRATION,
        threshold=0.6,
        predictions=tuple(
            Prediction(
                participant_id=subject,
                label=LABELS[subject],
                fold=k,
                p_rice=p_rice_of(modality_set, subject),
            )
            for k, fold in enumerate(FOLDS)
            for subject in fold
        ),
    )
    path = project / "work/evidence/gate" / f"{modality_set}.json"
    write_json(path, record.model_copy(update=changes).model_dump(mode="json"))


@functools.cache
def empty_database() -> bytes:
    """A database with MLflow's tables, which take a second to make."""
    with tempfile.TemporaryDirectory() as folder:
        open_store(Path(folder), "sqlite:///empty.db", "another experiment")
        return (Path(folder) / "empty.db").read_bytes()


def store_of(project: Path) -> TrackingStore:
    """The project's own store, with its experiment."""
    database = project / "mlflow" / "mlflow.db"
    if not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        database.write_bytes(empty_database())
    return open_store(project, None, "rice-net")
