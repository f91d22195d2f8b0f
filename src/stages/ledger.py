"""Stage `ledger`: models/test_ledger.tsv -> work/ledger.tsv, on which depends what the ledger tells.

Likewise models/validations.json -> work/validations.json, the digests of other hospitals' results.
Runs whenever the pipeline does: the ledger outlives MLflow's database and all that DVC caches.
"""

from __future__ import annotations

from pathlib import Path

from ricenet.cli import run_stage
from ricenet.inference.test_ledger import ledger_text, require_rows_of_votes
from ricenet.runtime.files import write_json, write_text
from ricenet.runtime.records import read_result
from ricenet.study.accepted import accepted_validations


def main() -> None:
    """Write the ledger as it stands, once it holds every evaluation that work/vote shows, and the digests."""
    project = Path()
    votes = read_result(project / "work" / "vote" / "vote.json", "vote")
    require_rows_of_votes(project, {name: vote["digest"] for name, vote in votes.items()})
    write_text(project / "work" / "ledger.tsv", ledger_text(project))
    external = {one.name: one.result.digest for one in accepted_validations(project)}
    write_json(project / "work" / "validations.json", external)


if __name__ == "__main__":
    run_stage(main)
