"""Stage `vote`: champions and the test set -> work/vote/, and a row a champion in models/test_ledger.tsv."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config import read_params
from ricenet.tracking.looking import vote
from ricenet.tracking.publish import publish
from ricenet.tracking.store import open_store


def main() -> None:
    """Let the champions vote, and show the outcome at their runs."""
    tracking = read_params().tracking
    project = Path()
    store = open_store(project, tracking.uri, tracking.experiment)
    vote(project, store, tracking.model_prefix)
    publish(project, store)


if __name__ == "__main__":
    run_stage(main)
