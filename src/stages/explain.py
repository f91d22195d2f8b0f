"""Stage `explain`: ensembles -> work/explain/: maps, figures and a page a subject, and a gallery a set."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.evaluation.occlusion.explain_cohort import write_gallery
from ricenet.evaluation.occlusion.explainer import Explainer
from ricenet.evaluation.occlusion.kept_explanations import kept_explanations
from ricenet.evaluation.occlusion.page.ways import IN_PROJECT
from ricenet.runtime.files import atomic_folder, write_json
from ricenet.runtime.store import STORE, Store


def main() -> None:
    """Write work/explain/<modality set>/, and subjects.json, which lists who is explained by which set."""
    params, store = read_params(), Store((STORE / "explain").absolute())
    explainers = {name: Explainer.open(Path(), name, params) for name in params.explain.modality_sets}
    subjects = {name: one.subjects(params.explain.subjects_per_label) for name, one in explainers.items()}
    kept = kept_explanations(explainers, subjects, params.execution, store)
    with atomic_folder(Path("work/explain")) as folder:
        for name, keys in kept.items():
            for subject, key in keys.items():
                store.lay_out(key, folder / name / subject)
            write_gallery(explainers[name], subjects[name], {}, folder / name, IN_PROJECT)
        write_json(folder / "subjects.json", subjects)


if __name__ == "__main__":
    run_stage(main)
