"""Explain some predictions by occlusion sensitivity."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config import read_params
from ricenet.ensemble import Ensemble
from ricenet.files import atomic_folder, write_json
from ricenet.occlusion.explanation import check_ensemble, explain_subject
from ricenet.occlusion.subjects import subjects_to_explain
from ricenet.splits import read_splits

logger = logging.getLogger("ricenet.stages.explain")

WORK = Path("work")


def main() -> None:
    """Write work/explain/<modality set>/<subject>/ and subjects.json, which lists them."""
    params = read_params()
    splits = read_splits(WORK / "splits" / "splits.json")
    subjects = subjects_to_explain(splits, params.explain.subjects_per_label)
    with atomic_folder(WORK / "explain") as folder:
        for name in params.explain.modality_sets:
            ensemble = Ensemble.load(Path("models/ensembles") / name)
            check_ensemble(ensemble, splits)
            for subject in subjects:
                explained = explain_subject(
                    ensemble,
                    splits,
                    subject,
                    WORK / "preprocessed",
                    Path(params.cohort.root),
                    folder / name / subject,
                    cube_voxels=params.explain.cube_voxels,
                    stride_voxels=params.explain.stride_voxels,
                )
                logger.info("%s, %s: p_rice %.3f", name, subject, explained.p_rice)
        write_json(folder / "subjects.json", dict.fromkeys(params.explain.modality_sets, subjects))


if __name__ == "__main__":
    run_stage(main)
