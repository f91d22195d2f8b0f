"""Promotion through the gate, and the gate once more before a champion votes."""

from __future__ import annotations

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ricenet.evaluation.evidence.gate import Failure, GateRecord, failed_conditions, refusal, worse_than
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.tracking.connection import TrackingStore, mlflow_errors, mlflow_failures
from ricenet.tracking.evidence_content import GATE_FOLDER, gate_file
from ricenet.tracking.registry import (
    RegisteredEnsemble,
    champions,
    make_champion,
    promotable_version,
    versions,
)

logger = logging.getLogger(__name__)

PROMOTED, REASON, FORCED_PAST = "ricenet.promoted_utc", "ricenet.promotion_reason", "ricenet.forced_past"
"""Tags of a version: when it was promoted by `ricenet promote`; why; past which failed conditions."""

_REASON_LENGTH = 2000
_BETWEEN = "; "


def promote_through_gate(
    store: TrackingStore,
    prefix: str,
    modality_set: str,
    version: int | None,
    seed: int,
    resamples: int,
    reason: str | None = None,
) -> RegisteredEnsemble:
    """Make a version its set's champion (None: the newest), if the gate lets it pass.

    seed, resamples: of the comparison with the present champion. reason: why it is to pass all the same,
    which is written into the version's tags with the conditions that failed.
    Raises RegistryError: the gate stays shut; unknown set, nothing registered for it, no such version.
    """
    chosen = promotable_version(store, prefix, modality_set, version)
    failures = gate_failures(store, prefix, chosen, seed, resamples)
    if failures and reason is None:
        advice = "Promote it all the same with --force --reason TEXT, which is recorded"
        raise RegistryError(f"{refusal(str(chosen), failures)}\n{advice}")
    for failure in failures:
        logger.warning("promoted past the gate: %s", failure)
    with mlflow_errors(store.uri):
        _record_promotion(store, chosen, failures, reason)
    return make_champion(store, chosen)


def require_passed(
    store: TrackingStore, prefix: str, champion: RegisteredEnsemble, seed: int, resamples: int, force: bool
) -> str:
    """Make sure that a champion passes the gate, or was knowingly put past it; how, in a word.

    force: let it vote whatever the gate says. Returns "passed" or "forced".
    Raises RegistryError: an alias moved by hand past a failed condition.
    """
    failures = gate_failures(store, prefix, champion, seed, resamples)
    if not failures:
        return "passed"
    known = set(champion.tags.get(FORCED_PAST, "").split(_BETWEEN))
    promoted_past = {failure.condition for failure in failures} <= known
    if promoted_past or force:
        why = "as it was promoted with --force" if promoted_past else "as tracking.vote_past_gate says"
        for failure in failures:
            logger.warning("%s votes past the gate, %s: %s", champion, why, failure)
        return "forced"
    advice = (
        f"Promote another version (`ricenet promote {champion.modality_set}`), or this one with --force "
        "--reason TEXT, or set tracking.vote_past_gate to true"
    )
    raise RegistryError(f"{refusal(f'the champion {champion}', failures)}\n{advice}")


def gate_failures(
    store: TrackingStore, prefix: str, chosen: RegisteredEnsemble, seed: int, resamples: int
) -> list[Failure]:
    """Every condition that keeps a version from being champion; empty where it may be.

    Raises RegistryError: the store cannot be used.
    """
    record = read_gate_record(store, chosen)
    if isinstance(record, Failure):
        return [record]
    failures = failed_conditions(record)
    present = _champion_before(store, prefix, chosen)
    if present is None:
        return failures
    other = read_gate_record(store, present)
    if isinstance(other, Failure):
        logger.warning("%s cannot be compared with %s: %s", chosen, present, other.found)
        return failures
    try:
        worse = worse_than(record, other, str(present), seed, resamples)
    except ResultError as error:
        logger.warning("%s cannot be compared with %s: %s", chosen, present, error)
        return failures
    return [*failures, worse] if worse is not None else failures


def read_gate_record(store: TrackingStore, ensemble: RegisteredEnsemble) -> GateRecord | Failure:
    """What the gate looks at, from the version's run; or, as a failure, why it cannot be had."""
    remedy = "Have its data and code at hand and run `dvc repro`, which records the evidence"
    try:
        with tempfile.TemporaryDirectory(prefix="ricenet-gate-") as folder:
            name = f"{GATE_FOLDER}/{gate_file(ensemble.modality_set)}"
            path = Path(store.client().download_artifacts(str(ensemble.run_id), name, folder))
            record = GateRecord.read(path, "evidence")
    except ResultError as error:
        return Failure("evidence", str(error), remedy)
    except mlflow_failures():
        return Failure("evidence", "its run holds no evidence of the cross-validation", remedy)
    if record.ensemble_digest != ensemble.digest:
        return Failure("evidence", "the evidence in its run is that of another ensemble", remedy)
    return record


def _champion_before(
    store: TrackingStore, prefix: str, chosen: RegisteredEnsemble
) -> RegisteredEnsemble | None:
    """Whom a version would replace: the champion, or if its alias was moved already, the one promoted last.

    None where there is no other, or where the version itself was promoted last.
    """
    present = champions(store, prefix).get(chosen.modality_set)
    if present is not None and present.version != chosen.version:
        return present
    with mlflow_errors(store.uri):
        promoted = [v for v in versions(store, prefix, chosen.modality_set) if PROMOTED in v.tags]
    last = max(promoted, key=lambda v: v.tags[PROMOTED], default=None)
    return None if last is None or last.version == chosen.version else last


def _record_promotion(
    store: TrackingStore, chosen: RegisteredEnsemble, failures: list[Failure], reason: str | None
) -> None:
    client, now = store.client(), datetime.now(UTC).isoformat(timespec="microseconds")
    # of what an earlier promotion was forced past, this one says what still holds
    tags = {PROMOTED: now, FORCED_PAST: _BETWEEN.join(failure.condition for failure in failures)}
    if reason is not None:
        tags |= {REASON: reason[:_REASON_LENGTH]}
    for name, value in tags.items():
        client.set_model_version_tag(chosen.model, chosen.version, name, value)
