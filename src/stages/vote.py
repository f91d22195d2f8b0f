"""Stage `vote`: champions and the test set -> work/vote/, and rows in models/test_ledger.tsv."""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.config.params import read_params
from ricenet.inference.test_vote import Voter, user_at_host, vote_on_test_set
from ricenet.tracking.connection import open_store
from ricenet.tracking.promotion import Gate, voting_champions
from ricenet.tracking.publish import show_vote
from ricenet.tracking.version_files import decision_threshold, ensemble_files


def main() -> None:
    """Let the champions vote, and show the outcome at their runs."""
    params = read_params()
    tracking, project = params.tracking, Path()
    store = open_store(project, tracking.uri, tracking.experiment)
    gate = Gate(project, store, tracking.model_prefix, params.seed, params.evidence.resamples)
    champions = voting_champions(gate, tracking.vote_past_gate)
    voters = [
        Voter(
            modality_set=champion.modality_set,
            model=champion.model,
            version=champion.version,
            digest=champion.digest,
            files=ensemble_files(project, store, champion),
            gate=passed,
            threshold=decision_threshold(project, champion),
        )
        for champion, passed in champions
    ]
    results = vote_on_test_set(project, voters, user_at_host() if tracking.ledger_names_people else None)
    for champion, _ in champions:
        show_vote(store, champion, results[champion.modality_set])


if __name__ == "__main__":
    run_stage(main)
