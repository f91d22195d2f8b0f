"""Stage: raw volumes to the network's cube, one folder a subject."""

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_checked_cohort
from ricenet.config import read_params
from ricenet.preprocessing.cohort import preprocess_cohort
from ricenet.preprocessing.pipeline import tool_versions
from ricenet.store import Store


def main() -> None:
    """Preprocess every subject of the checked cohort into work/preprocessed."""
    params = read_params()
    preprocess_cohort(
        read_checked_cohort(),
        params.preprocessing,
        params.seed,
        params.execution,
        Store(Path("work/store/subjects").absolute()),
        Path("work/preprocessed"),
        tool_versions(params.preprocessing.brain.precision),
    )


if __name__ == "__main__":
    run_stage(main)
