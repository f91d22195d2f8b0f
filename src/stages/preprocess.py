"""Stage: raw volumes to the network's cube, one folder a subject."""

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.cohort.checked import EXCLUDED_FILE, read_checked_cohort, write_excluded
from ricenet.config.params import read_params
from ricenet.preprocessing.preprocess_cohort import preprocess_cohort
from ricenet.preprocessing.step_keys import tool_versions
from ricenet.runtime.store import Store


def main() -> None:
    """Preprocess every subject of the checked cohort into work/preprocessed; list who is excluded."""
    params = read_params()
    # an earlier list must not outlive a run that fails
    EXCLUDED_FILE.unlink(missing_ok=True)
    excluded = preprocess_cohort(
        read_checked_cohort(),
        params.preprocessing,
        params.seed,
        params.execution,
        Store(Path("work/store/subjects").absolute()),
        Path("work/preprocessed"),
        tool_versions(params.preprocessing.brain),
        exclude_faulty=params.cohort.exclude_faulty,
    )
    write_excluded(excluded)


if __name__ == "__main__":
    run_stage(main)
