"""Stage `robustness`: ensembles -> work/robustness/: what perturbed input does to answers."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.splits import read_splits
from ricenet.config.params import Params, read_params
from ricenet.display.drawing import save_figure
from ricenet.evaluation.robustness.effects import effects, effects_table
from ricenet.evaluation.robustness.figure import effect_title, robustness_figure
from ricenet.evaluation.robustness.given import Source
from ricenet.evaluation.robustness.perturb_cohort import cohort_answers, cube_voxels, open_ensembles
from ricenet.evaluation.robustness.perturbations import perturbations
from ricenet.evaluation.robustness.record import ROBUSTNESS_FILE, Robustness
from ricenet.runtime.files import atomic_folder, write_json, write_text

logger = logging.getLogger("ricenet.stages.robustness")

WORK = Path("work")


def main() -> None:
    """Write robustness.json, effects.csv and figures/robustness.png."""
    found = robustness(read_params())
    for name, of_set in found.effects.items():
        worst = max(of_set, key=lambda effect: effect.flip_rate.value)
        logger.info("%-20s flips most with: %s, %s", name, effect_title(worst), worst.flip_rate.text())
    with atomic_folder(WORK / "robustness") as folder:
        write_json(folder / ROBUSTNESS_FILE.name, found.model_dump())
        write_text(folder / "effects.csv", effects_table(found))
        if found.effects:
            save_figure(robustness_figure(found), folder / "figures" / "robustness.png")


def robustness(params: Params) -> Robustness:
    """All effects; none where no modality set is asked for."""
    asked, seed, resamples = params.robustness, params.seed, params.evidence.resamples
    sets = params.modality_sets if asked.modality_sets is None else asked.modality_sets
    if not sets:
        return Robustness(seed=seed, effects={})
    splits = read_splits(WORK / "splits" / "splits.json")
    ensembles = open_ensembles(Path("models") / "ensembles", sets, splits)
    needs_raw = bool(asked.bias_field) and any(name != "dose" for name in sets)
    cohort = Path(params.cohort.root) if needs_raw else None
    source = Source(WORK / "preprocessed", cohort, cube_voxels(ensembles), seed)
    ways = perturbations(asked)
    answers = cohort_answers(ensembles, splits, source, ways, asked.batch_size)
    return Robustness(seed=seed, effects=effects(answers, ways, splits.labels, seed, resamples))


if __name__ == "__main__":
    run_stage(main)
