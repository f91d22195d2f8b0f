"""Promotion through the gate, and which champions may vote: those of the data at hand that pass it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ricenet.cohort.splits import read_splits
from ricenet.evaluation.evidence.gate import Failure, GateRecord, failed_conditions, refusal, worse_than
from ricenet.inference.test_ledger import gate_of_earlier_evaluation, identify_test_set, ledger_path
from ricenet.preprocessing.derivative_dataset import read_summary
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import file_digest
from ricenet.runtime.records import read_result
from ricenet.tracking.connection import TrackingStore, mlflow_errors, mlflow_failures
from ricenet.tracking.evidence_content import GATE_FOLDER, gate_file, gate_of
from ricenet.tracking.own_record import own_ensemble
from ricenet.tracking.registry import (
    RegisteredEnsemble,
    champions,
    make_champion,
    model_name,
    promotable_version,
    version_with_digest,
    versions,
)
from ricenet.tracking.settled import NO_CHAMPION

logger = logging.getLogger(__name__)

PROMOTED, REASON, FORCED_PAST = "ricenet.promoted_utc", "ricenet.promotion_reason", "ricenet.forced_past"
"""Tags of a version: when it was promoted by `ricenet promote`; why; past which failed conditions."""

_REASON_LENGTH = 2000
_BETWEEN = "; "


@dataclass(frozen=True)
class Gate:
    """The gate of a project. seed, resamples: of the comparison with the present champion."""

    project: Path
    store: TrackingStore
    prefix: str
    seed: int
    resamples: int

    def failures(self, chosen: RegisteredEnsemble) -> list[Failure]:
        """Every condition that keeps a version from being champion; empty where it may be.

        Raises RegistryError: the store cannot be used.
        """
        record = self.record(chosen)
        if isinstance(record, Failure):
            return [record]
        failures = failed_conditions(record)
        present = self._champion_before(chosen)
        if present is None:
            return failures
        other = self.record(present)
        if isinstance(other, Failure):
            logger.warning("%s cannot be compared with %s: %s", chosen, present, other.found)
            return failures
        try:
            worse = worse_than(record, other, str(present), self.seed, self.resamples)
        except ResultError as error:
            logger.warning("%s cannot be compared with %s: %s", chosen, present, error)
            return failures
        return [*failures, worse] if worse is not None else failures

    def record(self, ensemble: RegisteredEnsemble) -> GateRecord | Failure:
        """What the gate looks at: of the evidence at hand or, where that is another ensemble's, from the run.

        Or, as a failure, why it cannot be had.
        """
        remedy = "Have its data and code at hand and run `dvc repro`, which records the evidence"
        try:
            record = gate_of(self.project / "work", ensemble.modality_set, ensemble.digest)
            record = record or self._fetched(ensemble)
        except (ResultError, RegistryError) as error:
            return Failure("evidence", str(error), remedy)
        except mlflow_failures():
            return Failure("evidence", "its run holds no evidence of the cross-validation", remedy)
        if record.ensemble_digest != ensemble.digest:
            return Failure("evidence", "the evidence in its run is that of another ensemble", remedy)
        return record

    def _fetched(self, ensemble: RegisteredEnsemble) -> GateRecord:
        own = own_ensemble(self.project, ensemble.digest, str(ensemble), ensemble.modality_set)
        with tempfile.TemporaryDirectory(prefix="ricenet-gate-") as folder:
            name = f"{GATE_FOLDER}/{gate_file(ensemble.modality_set)}"
            path = Path(self.store.client().download_artifacts(str(ensemble.run_id), name, folder))
            # whoever may write into MLflow could write a pass
            if file_digest(path) != own.gate:
                raise ResultError(
                    "the evidence in its run is not what this project recorded (models/registered.json)"
                )
            return GateRecord.read(path, "evidence")

    def _champion_before(self, chosen: RegisteredEnsemble) -> RegisteredEnsemble | None:
        """Which one a version would replace: the champion, or if its alias was moved already, the last one.

        None where there is no other, or where the version itself was promoted last.
        """
        present = champions(self.store, self.prefix).get(chosen.modality_set)
        if present is not None and present.version != chosen.version:
            return present
        with mlflow_errors(self.store.uri):
            known = versions(self.store, model_name(self.prefix, chosen.modality_set))
        promoted = [v for v in known if PROMOTED in v.tags and v.is_readable]
        last = max(promoted, key=lambda v: v.tags[PROMOTED], default=None)
        return None if last is None or last.version == chosen.version else last


def promote_through_gate(
    gate: Gate, modality_set: str, version: int | None, reason: str | None = None
) -> RegisteredEnsemble:
    """Make a version its set's champion (None: the newest), if the gate lets it pass.

    reason: why it is to pass all the same, which is written into the version's tags with the conditions that
    failed.
    Raises RegistryError: the gate stays shut; nothing registered for the set, no such version.
    """
    chosen = promotable_version(gate.store, gate.prefix, modality_set, version)
    failures = gate.failures(chosen)
    if failures and reason is None:
        advice = "Promote it all the same with --force --reason TEXT, which is recorded"
        raise RegistryError(f"{refusal(str(chosen), failures)}\n{advice}")
    for failure in failures:
        logger.warning("promoted past the gate: %s", failure)
    # of what an earlier promotion was forced past, this one says what still holds
    tags = {FORCED_PAST: _BETWEEN.join(failure.condition for failure in failures)}
    tags |= {PROMOTED: _after_all_others(gate, modality_set)}
    if reason is not None:
        tags |= {REASON: reason[:_REASON_LENGTH]}
    with mlflow_errors(gate.store.uri):
        for name, value in tags.items():
            gate.store.client().set_model_version_tag(chosen.model, chosen.version, name, value)
    return make_champion(gate.store, chosen)


def _after_all_others(gate: Gate, modality_set: str) -> str:
    """The present time; a little after the set's last promotion where the clock was set back since."""
    with mlflow_errors(gate.store.uri):
        known = versions(gate.store, model_name(gate.prefix, modality_set))
    now = datetime.now(UTC)
    for tag in (version.tags[PROMOTED] for version in known if PROMOTED in version.tags):
        # whoever reaches MLflow may have written what is no time
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            now = max(now, datetime.fromisoformat(tag) + timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")


def how_it_passed(gate: Gate, champion: RegisteredEnsemble, force: bool = False) -> str:
    """How a champion passes the gate, in a word of the ledger: "passed", or "forced" past failed conditions.

    force: let it vote whatever the gate says. One that has voted on this test set may go on voting: there is
    nothing left to keep from it.
    Raises RegistryError: an alias moved by hand past a failed condition.
    """
    splits = read_splits(gate.project / "work" / "splits" / "splits.json")
    test_set = identify_test_set({subject: splits.labels[subject] for subject in splits.test})
    if earlier := gate_of_earlier_evaluation(ledger_path(gate.project), champion.digest, test_set):
        return earlier
    failures = gate.failures(champion)
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


def voting_champions(gate: Gate, force: bool) -> list[tuple[RegisteredEnsemble, str]]:
    """The champions of work/champions.json that vote on the test set, each with how it passed the gate.

    Champions of other data are named in a warning, and do not vote.
    Raises RegistryError: a champion that is not registered, or does not pass the gate. ResultError: a missing
    file of an earlier stage.
    """
    digests = read_result(gate.project / "work" / "champions.json", "resolve")
    if not digests:
        logger.info("%s", NO_CHAMPION)
        return []
    if not read_splits(gate.project / "work" / "splits" / "splits.json").test:
        logger.info("The splits hold no test subjects, so no champion votes (subset in participants.tsv)")
        return []
    with mlflow_errors(gate.store.uri):
        named = [version_with_digest(gate.store, gate.prefix, *champion) for champion in digests.items()]
    # of all of them, before the first one votes
    return [
        (champion, how_it_passed(gate, champion, force))
        for champion in fitting_champions(gate.project, named)
    ]


def able_champions(
    gate: Gate, candidates: Iterable[RegisteredEnsemble], force: bool
) -> list[RegisteredEnsemble]:
    """The champions that would vote now; the others are named in a warning each."""
    able = []
    for champion in fitting_champions(gate.project, candidates):
        try:
            how_it_passed(gate, champion, force)
        except RegistryError as error:
            logger.warning("%s", error)
        else:
            able.append(champion)
    return able


def fitting_champions(project: Path, candidates: Iterable[RegisteredEnsemble]) -> list[RegisteredEnsemble]:
    """The champions of the preprocessing and splits in work/; the others are named in a warning each.

    Training subjects of the others could be among the test subjects, and volumes would look different.
    Raises ResultError: a missing file of an earlier stage.
    """
    at_hand = data_at_hand(project)
    fitting = []
    for champion in candidates:
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
    summary = read_summary(project / "work" / "preprocessed")
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
