"""Stage `vote`: champions and the test set -> work/vote/, and a row a champion in models/test_ledger.tsv."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.tracking.champion_vote import Rules, looker, vote
from ricenet.tracking.connection import open_store
from ricenet.tracking.publish import publish


def main() -> None:
    """Let the champions vote, and show the outcome at their runs."""
    params = read_params()
    tracking, project = params.tracking, Path()
    store = open_store(project, tracking.uri, tracking.experiment)
    rules = Rules(
        seed=params.seed,
        resamples=params.evidence.resamples,
        past_gate=tracking.vote_past_gate,
        who=looker() if tracking.ledger_names_people else None,
    )
    vote(project, store, tracking.model_prefix, rules)
    publish(project, store)


if __name__ == "__main__":
    run_stage(main)
