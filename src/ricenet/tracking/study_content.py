"""A registered version as it goes into a study package: its files, home's results, the gate's answer."""

from __future__ import annotations

from pathlib import Path

from ricenet.config.params import Params
from ricenet.evaluation.evidence.gate import failed_conditions
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, read_evidence
from ricenet.inference.training_ranges import training_ranges
from ricenet.report.protocol import package_versions
from ricenet.runtime.records import read_result
from ricenet.study.package_record import GATE_UNKNOWN, HomeResults
from ricenet.study.plan import AnalysisPlan
from ricenet.study.write_package import StudyContent
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.evidence_content import gate_of
from ricenet.tracking.exported_version import exported_version
from ricenet.tracking.registry import RegisteredEnsemble
from ricenet.vocabulary import LABELS


def study_content(
    project: Path, store: TrackingStore, chosen: RegisteredEnsemble, plan: AnalysisPlan, params: Params
) -> StudyContent:
    """What is sealed of a version. home: None where the evidence at hand is another ensemble's.

    Raises RegistryError: files, tags or records that are not those that were registered. ResultError:
    evidence that is not of this version of ricenet.
    """
    exported, files = exported_version(project, store, chosen)
    gate = gate_of(project / "work", chosen.modality_set, chosen.digest)
    failed = [] if gate is None else sorted({failure.condition for failure in failed_conditions(gate)})
    # conditions alone: what a guard found may name subjects
    said = GATE_UNKNOWN if gate is None else f"failed: {', '.join(failed)}" if failed else "passed"
    return StudyContent(
        model=exported.model,
        version=exported.version,
        files=files,
        plan=plan,
        home=None if gate is None else _home(project, chosen.modality_set),
        decision=exported.threshold,
        ranges=training_ranges(project, exported.record).with_plausible(params.quality),
        gate=said,
        synthetic=exported.synthetic,
        seed=params.seed,
        versions=package_versions(),
    )


def _home(project: Path, modality_set: str) -> HomeResults:
    metrics = read_result(project / "work" / "evaluation" / "metrics.json", "evaluate")
    (tn, fp), (fn, tp) = metrics[modality_set]["confusion"]
    evidence = read_evidence(project / EVIDENCE_FILE)
    return HomeResults.of(evidence, modality_set, ((tn, fp), (fn, tp)), LABELS)
