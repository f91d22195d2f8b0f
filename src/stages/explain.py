"""Stage `explain`: ensembles -> work/explain/: maps, figures and a page a subject, and a gallery a set."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.evaluation.occlusion.explain_cohort import explain_subjects
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.runtime.files import atomic_folder, write_json


def main() -> None:
    """Write work/explain/<modality set>/, and subjects.json, which lists who is explained by which set."""
    params = read_params()
    with atomic_folder(Path("work/explain")) as folder:
        explained = {}
        for name in params.explain.modality_sets:
            explainer = Explainer.open(Path(), name, params)
            explained[name] = explainer.subjects(params.explain.subjects_per_label)
            explain_subjects(explainer, explained[name], folder / name)
        write_json(folder / "subjects.json", explained)


if __name__ == "__main__":
    run_stage(main)
