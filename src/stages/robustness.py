"""Stage `robustness`: ensembles -> work/robustness/: what perturbed input does to answers."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import having, read_usable_cohort
from ricenet.cohort.splits import read_splits
from ricenet.config.params import Params, read_params
from ricenet.display.drawing import save_figure
from ricenet.evaluation.robustness.cohort_answers import cohort_answers, open_ensembles
from ricenet.evaluation.robustness.effects import ROBUSTNESS_FILE, Robustness, effects, effects_table
from ricenet.evaluation.robustness.effects_figure import robustness_figure
from ricenet.evaluation.robustness.perturbations import perturbations
from ricenet.evaluation.robustness.perturbed_answers import Source
from ricenet.preprocessing.subject_variables import variables_of
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.runtime.store import STORE, Store

logger = logging.getLogger("ricenet.stages.robustness")

WORK = Path("work")


def main() -> None:
    """Write robustness.json, effects.csv and figures/robustness.png."""
    found = robustness(read_params())
    for name, of_set in found.effects.items():
        worst = max(of_set, key=lambda effect: effect.flip_rate.value)
        logger.info("%-20s flips most with: %s, %s", name, worst.full_title(), worst.flip_rate.text())
    with atomic_folder(WORK / "robustness") as folder:
        write_json(folder / ROBUSTNESS_FILE.name, found.model_dump(mode="json"))
        write_text(folder / "effects.csv", effects_table(found))
        if found.effects:
            save_figure(robustness_figure(found), folder / "figures" / "robustness.png")


def robustness(params: Params) -> Robustness:
    """All effects; none where no modality set is asked for."""
    asked, volumes, seed = params.robustness, params.volumes, params.seed
    sets = params.modality_sets if asked.modality_sets is None else asked.modality_sets
    if not sets:
        return Robustness(seed=seed, volumes=volumes, effects={})
    splits, cohort = read_splits(WORK / "splits" / "splits.json"), read_usable_cohort()
    ensembles = open_ensembles(Path("models") / "ensembles", sets, splits)
    source = Source(
        preprocessed=WORK / "preprocessed",
        volumes=volumes,
        having={name: having(cohort, name) for name in {*sets, *volumes.names}},
        variables=variables_of(cohort, WORK / "preprocessed"),
        grids={name: ensemble.record.grid for name, ensemble in ensembles.items()},
        seed=seed,
    )
    store = Store((STORE / "robustness").absolute())
    answers = cohort_answers(ensembles, splits, source, asked, params.execution, store)
    found = effects(
        answers,
        perturbations(asked, volumes),
        splits.labels,
        seed,
        params.evidence.resamples,
        splits.label_names,
    )
    return Robustness(seed=seed, volumes=volumes, effects=found, label_names=splits.label_names)


if __name__ == "__main__":
    run_stage(main)
