"""Stage `explain`: ensembles -> work/explain/: maps, figures and a page a subject, and a gallery a set."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.splits import read_splits
from ricenet.config.params import read_params
from ricenet.evaluation.occlusion.explain_cohort import explain_subjects
from ricenet.evaluation.occlusion.explainer import Explainer, subjects_to_explain
from ricenet.runtime.files import atomic_folder, write_json

WORK = Path("work")


def main() -> None:
    """Write work/explain/<modality set>/, and subjects.json, which lists who is explained."""
    params = read_params()
    splits = read_splits(WORK / "splits" / "splits.json")
    subjects = subjects_to_explain(splits, params.explain.subjects_per_label)
    with atomic_folder(WORK / "explain") as folder:
        for name in params.explain.modality_sets:
            explain_subjects(Explainer.open(Path(), name, params), subjects, folder / name)
        write_json(folder / "subjects.json", dict.fromkeys(params.explain.modality_sets, subjects))


if __name__ == "__main__":
    run_stage(main)
