"""A registered version as it goes into a bundle: files that are those registered, and its evidence."""

from __future__ import annotations

from pathlib import Path

from ricenet.bundle.metadata import Exported
from ricenet.cohort.checked import CHECKED_COHORT_FILE
from ricenet.cohort.description import is_synthetic
from ricenet.evaluation.evidence.record import read_evidence
from ricenet.inference.label_answers import LabelDecision
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.evidence_content import card_sections, gate_of
from ricenet.tracking.registry import DEMO_COHORT, RegisteredEnsemble, champions, promotable_version
from ricenet.tracking.version_files import decision_threshold, ensemble_files
from ricenet.training.ensemble_record import EnsembleRecord, read_record, require_rice_task

SCORES = ("macro_f1", "balanced_accuracy", "auc", "sensitivity", "specificity", "brier")


def champion_or_version(
    store: TrackingStore, prefix: str, modality_set: str, version: int | None
) -> RegisteredEnsemble:
    """A set's champion, or the version that is asked for.

    Raises RegistryError: nothing is registered for the set, no such version, or no champion. FormatError:
    another version of ricenet made it.
    """
    chosen = promotable_version(store, prefix, modality_set, version)
    if version is not None:
        return chosen
    champion = champions(store, prefix).get(modality_set)
    if champion is None:
        raise RegistryError(
            f"{chosen.model} has no champion. Promote a version (`ricenet promote {modality_set}`), or name "
            f"one: --version {chosen.version}"
        )
    return champion


def exported_version(
    project: Path, store: TrackingStore, registered: RegisteredEnsemble
) -> tuple[Exported, Path]:
    """A version with what is known of it, and the folder of its files.

    Raises RegistryError: files, tags or records that are not those that were registered.
    """
    files = ensemble_files(project, store, registered)
    record, work = read_record(files), project / "work"
    synthetic = _trained_on_phantoms(project, record)
    require_rice_task(record, "`ricenet export` gives")
    threshold = decision_threshold(project, registered)
    assert not isinstance(threshold, LabelDecision)
    exported = Exported(
        model=registered.model,
        version=registered.version,
        record=record,
        threshold=threshold,
        card=card_sections(work, record.modality_set, registered.digest, bool(synthetic)),
        scores=_scores(work, record.modality_set, registered.digest),
        synthetic=synthetic,
    )
    return exported, files


def _scores(work: Path, modality_set: str, digest: str) -> dict[str, float]:
    """Out of fold, by name, rounded to four places; nothing where the evidence is another ensemble's."""
    if gate_of(work, modality_set, digest) is None:
        return {}
    found = read_evidence(work / "evidence" / "evidence.json").sets[modality_set]
    return {f"cross_validated_{name}": round(getattr(found, name).value, 4) for name in SCORES}


def _trained_on_phantoms(project: Path, record: EnsembleRecord) -> bool | None:
    """Whether an ensemble's cohort is made up; None where the cohort at hand is another, or gone."""
    path = project / CHECKED_COHORT_FILE
    cohort = read_json(path) if path.is_file() else {}
    if cohort.get("digest") != record.data_digest:
        return None
    if Path(cohort["root"]) == Path(DEMO_COHORT):
        return True
    root = project / cohort["root"]
    return is_synthetic(root) if root.is_dir() else None
