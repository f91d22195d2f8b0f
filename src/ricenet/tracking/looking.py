"""Looking at the test set: every champion votes once, and the look is written into the ledger."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet.errors import RegistryError
from ricenet.evaluation.predictions import require
from ricenet.files import read_json, write_json, write_text
from ricenet.modalities import channels
from ricenet.splits import Splits, read_splits
from ricenet.tracking.registry import NO_CHAMPION, RegisteredEnsemble, load_registered, version_with_digest
from ricenet.tracking.store import TrackingStore, mlflow_errors, mlflow_failures, one_line
from ricenet.voting import (
    LedgerRow,
    VoteResult,
    count_votes,
    identify_test_set,
    record_look,
    vote_result,
    vote_table,
)

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def vote(project: Path, store: TrackingStore, prefix: str) -> dict[str, VoteResult]:
    """Let every champion vote on the test set; writes work/vote/ and a ledger row a champion.

    Raises RegistryError: a champion that is not registered, does not load, or was trained on other data.
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
        for voter in voters:
            require_same_data(project, voter, splits)
        results = {voter.modality_set: _look(project, store, voter, splits) for voter in voters}
    write_json(
        project / "work" / "vote" / "vote.json",
        {name: {**asdict(result), "digest": digests[name]} for name, result in results.items()},
    )
    return results


def require_same_data(project: Path, voter: RegisteredEnsemble, splits: Splits) -> None:
    """Refuse a champion of other preprocessing or splits than those at hand.

    Its training subjects could be among the test subjects, and its volumes would look different.
    Raises RegistryError: they differ.
    """
    summary = read_json(require(project / "work" / "preprocessed" / "summary.json", "preprocess"))
    current = {"preprocessing_digest": summary["digest"], "splits_digest": splits.digest}
    differing = [
        f"{name} {voter.tags[f'ricenet.{name}'][:12]}, at hand is {digest[:12]}"
        for name, digest in current.items()
        if voter.tags[f"ricenet.{name}"] != digest
    ]
    if differing:
        raise RegistryError(
            f"the champion {voter} was trained on other data: {'; '.join(differing)}. "
            f"Promote a version trained on the data at hand (`ricenet promote {voter.modality_set}`), "
            "or go back to the champion's data and settings"
        )


def _look(project: Path, store: TrackingStore, voter: RegisteredEnsemble, splits: Splits) -> VoteResult:
    predict = load_registered(store, voter)
    # one at a time: a cohort's volumes at the paper's scale do not fit into memory together
    p_rice_folds = np.concatenate(
        [_fold_columns(predict(_volumes(project, subject, voter.modality_set))) for subject in splits.test]
    )
    labels = {subject: splits.labels[subject] for subject in splits.test}
    votes = count_votes(splits.test, list(labels.values()), p_rice_folds)
    result = vote_result(votes)
    row = record_look(
        project / "models" / "test_ledger.tsv",
        voter.modality_set,
        voter.model,
        voter.version,
        voter.digest,
        result,
        identify_test_set(labels),
    )
    write_text(project / "work" / "vote" / f"{voter.modality_set}.tsv", vote_table(votes))
    logger.info(
        "%s: test macro-F1 %.3f (n=%d), look %d at this test set", voter, result.macro_f1, result.n, row.look
    )
    _log_to_run(store, voter, result, row)
    return result


def _volumes(project: Path, subject: str, modality_set: str) -> NDArray[np.float32]:
    path = require(project / "work" / "preprocessed" / subject / "volumes.npy", "preprocess")
    stacked = np.load(path, mmap_mode="r", allow_pickle=False)
    selected: NDArray[np.float32] = np.ascontiguousarray(stacked[channels(modality_set)][np.newaxis])
    return selected


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
