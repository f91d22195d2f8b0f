"""Stage `register`: work/ and models/ -> runs and model versions in MLflow, work/registered.json.

Runs whenever the pipeline does, since only MLflow knows what MLflow holds.
"""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.runtime.files import write_json
from ricenet.tracking.connection import open_store
from ricenet.tracking.register_models import register_ensembles


def main() -> None:
    """Make MLflow agree with the files, and register ensembles that are new."""
    tracking = read_params().tracking
    project = Path()
    store = open_store(project, tracking.uri, tracking.experiment)
    write_json(
        project / "work" / "registered.json", register_ensembles(project, store, tracking.model_prefix)
    )


if __name__ == "__main__":
    run_stage(main)
