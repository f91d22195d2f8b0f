"""Stage `tune`: settings for the sets that tuning.modality_sets names -> work/tuning; none by default."""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import Params, read_params
from ricenet.runtime.files import atomic_folder, read_json, write_json

logger = logging.getLogger("ricenet.stages.tune")

TUNING = Path("work/tuning")


def main() -> None:
    """Search settings for the sets that are to be tuned; where there are none, say so in best.json."""
    params = read_params()
    if params.tuning.modality_sets:
        search(params)
    else:
        with atomic_folder(TUNING) as temporary:
            write_json(temporary / "best.json", {})


def search(params: Params) -> None:
    """Carry out the searches, or the rest of them, and lay out what they found."""
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.tuning_runs import LiveTrials
    from ricenet.training.planning import TrainingSetup
    from ricenet.training.tuning.search_results import lay_out_tuning
    from ricenet.training.tuning.searches import plan_searches, refuse_sqlite_on_a_cluster
    from ricenet.training.tuning.searching import search_settings

    refuse_sqlite_on_a_cluster(params.tuning, params.execution)
    setup = TrainingSetup.of_project(params, Path("work/store/folds"))
    searches = plan_searches(params.tuning, setup)
    store = open_store(Path(), params.tracking.uri, params.tracking.experiment)
    observer = LiveTrials(store)
    observer.start([search.study for search in searches])
    search_settings(searches, params.execution, observer)
    lay_out_tuning(searches, len(setup.splits.folds), TUNING)
    for modality_set, found in read_json(TUNING / "best.json").items():
        logger.info("%s: best macro-F1 %.3f over the folds", modality_set, found["macro_f1"])


if __name__ == "__main__":
    run_stage(main)
