"""Looking at the test set: every champion votes once, and the look is written into the ledger."""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.splits import Splits, read_splits
from ricenet.inference.test_vote import (
    LedgerRow,
    VoteResult,
    count_votes,
    identify_test_set,
    ledger_path,
    read_ledger,
    record_look,
    vote_result,
    vote_table,
)
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json, write_json, write_text
from ricenet.runtime.tables import require
from ricenet.tracking.connection import TrackingStore, mlflow_errors, mlflow_failures, one_line
from ricenet.tracking.promotion import require_passed
from ricenet.tracking.registry import NO_CHAMPION, RegisteredEnsemble, load_registered, version_with_digest
from ricenet.vocabulary import members

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """Who may look, and what the ledger says of it.

    seed, resamples: of the gate's comparison. past_gate: let champions vote that the gate refuses. who: is
    written into the ledger; None for nobody.
    """

    seed: int
    resamples: int
    past_gate: bool = False
    who: str | None = None


def vote(project: Path, store: TrackingStore, prefix: str, rules: Rules) -> dict[str, VoteResult]:
    """Let every champion of the data at hand vote on the test set; writes work/vote/ and the ledger.

    Champions of other data are named in a warning, and do not vote.
    Raises RegistryError: a champion that is not registered, does not load, or does not pass the gate.
    Raises ResultError: a missing file of an earlier stage.
    """
    digests = read_json(require(project / "work" / "champions.json", "resolve"))
    splits = read_splits(project / "work" / "splits" / "splits.json")
    results: dict[str, VoteResult] = {}
    if not digests:
        logger.info("%s", NO_CHAMPION)
    elif not splits.test:
        logger.info("The splits hold no test subjects, so no champion votes (subset in participants.tsv)")
    else:
        with mlflow_errors(store.uri):
            voters = [version_with_digest(store, prefix, name, digest) for name, digest in digests.items()]
        fitting = fitting_champions(project, voters)
        # of all of them, before the first one looks
        passes = {
            voter.modality_set: _gate_word(project, store, prefix, voter, splits, rules) for voter in fitting
        }
        results = {
            voter.modality_set: _look(project, store, voter, splits, passes[voter.modality_set], rules.who)
            for voter in fitting
        }
    write_json(
        project / "work" / "vote" / "vote.json",
        {name: {**asdict(result), "digest": digests[name]} for name, result in results.items()},
    )
    return results


def able_champions(
    project: Path,
    store: TrackingStore,
    prefix: str,
    champions: Iterable[RegisteredEnsemble],
    rules: Rules,
) -> list[RegisteredEnsemble]:
    """The champions that would vote now; the others are named in a warning each."""
    splits, able = read_splits(project / "work" / "splits" / "splits.json"), []
    for champion in fitting_champions(project, champions):
        try:
            _gate_word(project, store, prefix, champion, splits, rules)
        except RegistryError as error:
            logger.warning("%s", error)
        else:
            able.append(champion)
    return able


def _gate_word(
    project: Path,
    store: TrackingStore,
    prefix: str,
    voter: RegisteredEnsemble,
    splits: Splits,
    rules: Rules,
) -> str:
    """How a champion passes the gate, in a word of the ledger.

    Raises RegistryError: it does not, and has not looked at this test set before.
    """
    test_set = identify_test_set({subject: splits.labels[subject] for subject in splits.test})
    for row in read_ledger(ledger_path(project)):
        if (row.digest12, row.test_set) == (voter.digest[:12], test_set):
            # there is nothing left to keep from it
            return row.gate
    return require_passed(store, prefix, voter, rules.seed, rules.resamples, rules.past_gate)


def looker() -> str:
    """Who looks, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # in a container a user may have a number alone
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def fitting_champions(project: Path, champions: Iterable[RegisteredEnsemble]) -> list[RegisteredEnsemble]:
    """The champions of the preprocessing and splits in work/; the others are named in a warning each.

    Training subjects of the others could be among the test subjects, and volumes would look different.
    Raises ResultError: a missing file of an earlier stage.
    """
    at_hand = data_at_hand(project)
    fitting = []
    for champion in champions:
        if differences := data_differences(champion, at_hand):
            logger.warning(
                "The champion %s of %s does not vote: %s. Promote a version of the data at hand "
                "(`ricenet promote %s`), then `dvc repro`",
                champion,
                champion.modality_set,
                ", ".join(differences),
                champion.modality_set,
            )
        else:
            fitting.append(champion)
    return fitting


def data_at_hand(project: Path) -> dict[str, str]:
    """Digests of the preprocessing and the splits in work/, by the names that ensembles know them by.

    Raises ResultError: a missing file of an earlier stage.
    """
    summary = read_json(require(project / "work" / "preprocessed" / "summary.json", "preprocess"))
    splits = read_splits(project / "work" / "splits" / "splits.json")
    return {"preprocessing_digest": str(summary["digest"]), "splits_digest": splits.digest}


def data_differences(champion: RegisteredEnsemble, at_hand: Mapping[str, str]) -> list[str]:
    """In words, what a champion was trained on and what of it is another now; empty where it fits."""
    trained_on = {name: champion.tags.get(f"ricenet.{name}", "unknown") for name in at_hand}
    return [
        f"its {name} is {trained_on[name][:12]}, at hand is {digest[:12]}"
        for name, digest in at_hand.items()
        if trained_on[name] != digest
    ]


def _look(
    project: Path, store: TrackingStore, voter: RegisteredEnsemble, splits: Splits, gate: str, who: str | None
) -> VoteResult:
    predict = load_registered(store, voter)
    # one at a time: a cohort's volumes at the paper's scale do not fit into memory together
    p_rice_folds = np.concatenate(
        [_fold_columns(predict(_volumes(project, subject, voter.modality_set))) for subject in splits.test]
    )
    labels = {subject: splits.labels[subject] for subject in splits.test}
    votes = count_votes(splits.test, list(labels.values()), p_rice_folds, voter.sureness)
    result = vote_result(votes)
    row = record_look(
        ledger_path(project),
        voter.modality_set,
        voter.model,
        voter.version,
        voter.digest,
        result,
        identify_test_set(labels),
        gate,
        who,
    )
    write_text(project / "work" / "vote" / f"{voter.modality_set}.tsv", vote_table(votes))
    logger.info(
        "%s: test macro-F1 %.3f (n=%d), look %d at this test set", voter, result.macro_f1, result.n, row.look
    )
    _log_to_run(store, voter, result, row)
    return result


def _volumes(project: Path, subject: str, modality_set: str) -> NDArray[np.float32]:
    folder = project / "work" / "preprocessed" / subject
    names = members(modality_set)
    voxels = np.load(require(folder / f"{names[0]}.npy", "preprocess"), mmap_mode="r").shape[0]
    return read_volumes(folder, subject, names, voxels)[np.newaxis].astype(np.float32)


def _fold_columns(answer: pd.DataFrame) -> NDArray[np.float64]:
    columns = [name for name in answer.columns if name.startswith("fold_")]
    return answer[columns].to_numpy(dtype=np.float64)


def _log_to_run(store: TrackingStore, voter: RegisteredEnsemble, result: VoteResult, row: LedgerRow) -> None:
    metrics: Mapping[str, Any] = {"test_macro_f1": result.macro_f1, "test_looks": row.look}
    try:
        for name, value in metrics.items():
            store.client().log_metric(str(voter.run_id), name, float(value))
    except mlflow_failures() as error:
        # the run may have been deleted in the web page; the ledger keeps the result
        logger.warning("MLflow: the vote of %s is not shown at its run: %s", voter, one_line(error))
