"""Stage `register`: work/ and models/ -> runs and model versions in MLflow, work/registered.json.

Runs whenever the pipeline does, since only MLflow knows what MLflow holds.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import PARAMS_FILE, TrackingParams, read_params
from ricenet.report.status import next_step
from ricenet.runtime.files import write_json
from ricenet.tracking.connection import open_store
from ricenet.tracking.settled import settled_champions, unless_unchanged

logger = logging.getLogger("ricenet.register")

PUBLISHED = ("cohort", "evaluation", "evidence", "explain", "guards", "quality", "report", "robustness",
             "training", "tuning", "vote")  # fmt: skip
"""Folders of work/ of which runs and versions tell."""


def registered(tracking: TrackingParams) -> dict[str, dict[str, str]]:
    """Modality set -> its registered model and ensemble, once MLflow agrees with the files."""
    from ricenet.tracking.register_models import register_ensembles

    project = Path()
    store = open_store(project, tracking.uri, tracking.experiment)
    return register_ensembles(project, store, tracking.model_prefix)


def main() -> None:
    """Make MLflow agree with the files, and register ensembles that are new."""
    tracking = read_params().tracking
    seen = [Path(PARAMS_FILE), Path("models"), *(Path("work") / name for name in PUBLISHED)]
    found = unless_unchanged("registered", tracking.uri, seen, lambda: registered(tracking))
    write_json(Path("work/registered.json"), found)
    # the store may have changed: the next run's `resolve` need not ask it again
    settled_champions(tracking)
    # the last stage: what it says is the last line of `dvc repro`
    logger.info("next: %s", next_step(Path(), {}))


if __name__ == "__main__":
    run_stage(main)
