"""The results of all stages, read from a project folder into what the page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ricenet.cohort.layout import GROUND_TRUTH
from ricenet.config.tuned import read_tuned
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.evaluation.evidence.record import EVIDENCE_FILE, Evidence, read_evidence
from ricenet.evaluation.evidence.visits import VISITS_FILE, VisitEvidence, read_visit_evidence
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Explanation
from ricenet.evaluation.occlusion.map_summary import MapSummary
from ricenet.report.missing_volumes_table import training_seconds
from ricenet.report.promoted_votes import read_votes
from ricenet.report.run_results import RunResults, read_measures, read_run
from ricenet.runtime.files import read_json
from ricenet.runtime.tables import read_rows, require
from ricenet.study.accepted import SealedStudy, Validation, accepted_validations, sealed_studies
from ricenet.vocabulary import Volumes

GALLERY = "index.html"


class Scored(NamedTuple):
    """Of every subject outside the test set: whether it has RICE, its p_rice, and who it is."""

    is_rice: tuple[bool, ...]
    p_rice: tuple[float, ...]
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class ExplainedSubject:
    """One explained prediction, and where its figure lies."""

    explanation: Explanation
    figure: Path

    @property
    def together(self) -> MapSummary:
        """Of the map of hiding all volumes at once."""
        return self.explanation.maps[TOGETHER]


@dataclass(frozen=True, kw_only=True)
class Results(RunResults):
    """What the page reports beyond what every run has.

    truth_known: the cohort holds its maker's ground truth. galleries: modality sets with a gallery of
    occlusion maps; case_pages: subjects with a page, by modality set. quality_pages: subjects with one.
    marks: of quality control, in words. scalars: of the subjects outside the test set, as the evidence
    measured them (lesion_ml, lesion_dose_gy). studies: packages that were sealed here, by seal; validations:
    what other hospitals found of them. training_seconds: by modality set, where networks that may lack
    volumes are compared with others. visits: where a patient has several.
    """

    evidence: Evidence
    truth_known: bool
    out_of_fold: Mapping[str, Scored]
    explanations: tuple[ExplainedSubject, ...]
    galleries: tuple[str, ...]
    case_pages: Mapping[str, frozenset[str]]
    quality_pages: frozenset[str]
    studies: Mapping[str, SealedStudy] = field(default_factory=dict)
    validations: tuple[Validation, ...] = ()
    training_seconds: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scalars: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    visits: VisitEvidence | None = None

    def calibrated_text(self, of: Explanation) -> str:
        """The calibrated p_rice of an explained subject, by its folds' recalibrations, or nothing."""
        if (found := self.evidence.calibration.get(of.modality_set)) is None:
            return ""
        votes = [vote for vote in of.votes if vote.held_out]
        p_rice = [recalibrated(np.array(v.p_rice), found.recalibrations[v.fold]) for v in votes]
        return f"{np.mean(p_rice):.3f} calibrated, "

    def counts(self) -> list[tuple[str, int, int]]:
        """Rows (label, subjects in the cross-validation, in the test set), and their sum as the last row."""
        places = (self.splits.development, self.splits.test)
        development, test = (Counter(self.splits.labels[s] for s in subjects) for subjects in places)
        rows = [(label, development[label], test[label]) for label in self.splits.label_names]
        return [*rows, ("all", development.total(), test.total())]


def read_results(project: Path, seed: int) -> Results:
    """Read the results of a project folder. seed: of the bootstrap of the test vote.

    Raises ResultError, CohortError or SplitError: a missing file, with the stage that makes it.
    """
    work = project / "work"
    explain = require(work / "explain", "explain")
    evidence = read_evidence(project / EVIDENCE_FILE)
    volumes = evidence.volumes
    tuned = read_tuned(require(work / "tuning" / "best.json", "tune")).folds_of
    run = read_run(project, volumes)
    return Results(
        **run,
        evidence=evidence,
        truth_known=(project / run["cohort"].root / GROUND_TRUTH).is_dir(),
        out_of_fold=_out_of_fold(require(work / "evaluation" / "out_of_fold.tsv", "evaluate"), volumes),
        explanations=_explanations(explain, volumes),
        galleries=tuple(volumes.in_order({path.parent.name for path in explain.glob(f"*/{GALLERY}")})),
        case_pages={
            name: frozenset(path.parent.name for path in explain.glob(f"{name}/*/{GALLERY}"))
            for name in volumes.in_order({path.name for path in explain.iterdir() if path.is_dir()})
        },
        quality_pages=frozenset(path.stem for path in (work / "quality").glob("*.html")) - {"index"},
        tuned={name: tuned[name] for name in volumes.in_order(tuned)},
        votes=read_votes(work / "vote", run["splits"], run["ledger"], seed, evidence),
        studies=sealed_studies(project),
        validations=accepted_validations(project),
        training_seconds=training_seconds(
            work / "training", work / "store/folds", volumes.in_order(run["metrics"])
        )
        if evidence.missing_volumes
        else {},
        marks=_marks(work / "quality" / "marked.json"),
        scalars=read_measures(work / "evidence" / "scalars.tsv"),
        visits=read_visit_evidence(project / VISITS_FILE),
    )


def _marks(path: Path) -> dict[str, tuple[str, ...]]:
    found = read_json(path) if path.is_file() else {}
    return {subject: tuple(mark["reason"] for mark in marks) for subject, marks in found.items()}


def _out_of_fold(path: Path, volumes: Volumes) -> dict[str, Scored]:
    by_set: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(path):
        by_set.setdefault(row["modality_set"], []).append(row)
    return {
        name: Scored(
            tuple(row["label"] == "rice" for row in by_set[name]),
            tuple(float(row["p_rice"]) for row in by_set[name]),
            tuple(row["participant_id"] for row in by_set[name]),
        )
        for name in volumes.in_order(by_set)
    }


def _explanations(folder: Path, volumes: Volumes) -> tuple[ExplainedSubject, ...]:
    return tuple(
        ExplainedSubject(Explanation.read(path, "explain"), require(path.with_name("figure.png"), "explain"))
        for name in volumes.in_order({path.name for path in folder.iterdir()})
        for path in sorted(folder.glob(f"{name}/*/summary.json"))
    )
