"""Visits: how well networks classify every visit of patients with several, and what time alone would know.

Visits of one patient are alike, so intervals come from patients drawn with all their visits (the cluster
bootstrap; Davison and Hinkley 1997, section 3.8). Baselines on the days since radiotherapy, and on the
visit's number, stand beside the networks, in the same folds: where progression comes later than
pseudoprogression, time alone gives much of the label away (Burdenko-GBM-Progression).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.checked import CheckedCohort
from ricenet.cohort.layout import PARTICIPANTS_TABLE
from ricenet.cohort.participants import read_participants
from ricenet.cohort.visits import days_of
from ricenet.evaluation import scores
from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, difference
from ricenet.evaluation.evidence.baselines import held_out_p_rice
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate, Probabilities, Truth, exact_bounds, or_bound
from ricenet.runtime.records import Record
from ricenet.runtime.tables import table_text
from ricenet.training.predictions import Prediction, predicted_label
from ricenet.vocabulary import VariableValue

VISITS_FILE, VISITS_TABLE = Path("work/evidence/visits.json"), "visits.tsv"
"""Absent where no patient has several labelled visits."""

DAYS, NUMBER = "days_rt_end_to_event", "visit"
TIME = {DAYS: "days since radiotherapy", NUMBER: "the visit's number"}
"""What each baseline of time knows, with its title."""

FEWEST = 2
"""Patients of each label, for an interval."""


@dataclass(frozen=True)
class VisitTime:
    """Of one sample: whose it is, which visit, and how many days after radiotherapy, where known."""

    patient: str
    number: int
    days: int | None


class VisitScores(Record):
    """Of n visits of some patients, rice of them RICE; None where a label has fewer than two patients."""

    n: int
    patients: int
    rice: int
    macro_f1: Estimate | None
    auc: Estimate | None


class VisitGain(Record):
    """A network minus a baseline of time, on all visits."""

    macro_f1: Estimate | None
    auc: Estimate | None


class ClassifiedVisits(Record):
    """One classification. by_number: by the visit's number. gains: over each baseline of time, by name."""

    first_event: VisitScores
    all_visits: VisitScores
    by_number: dict[int, VisitScores]
    gains: dict[str, VisitGain]


class VisitEvidence(Record):
    """By modality set and, with names of `TIME`, by what time alone knows of the visits of all sets.

    patients, visits: of the cross-validation, with a label; several: patients with more than one.
    """

    patients: int
    several: int
    visits: int
    sets: dict[str, ClassifiedVisits]
    time: dict[str, ClassifiedVisits]


@dataclass(frozen=True, eq=False)
class Clusters:
    """Visits by patient. owner: the patient of each visit (N,). first: each patient's first visit (P,)."""

    owner: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, patients: Sequence[str], numbers: Sequence[int]) -> Self:
        """Of visits in any order."""
        by_time = np.argsort(numbers, kind="stable")
        _, first, owner = np.unique(np.array(patients)[by_time], return_index=True, return_inverse=True)
        in_order = np.empty_like(owner)
        in_order[by_time] = owner
        return cls(in_order, by_time[first])

    def estimates(
        self, statistics: Sequence[Statistic], is_rice: Truth, seed: int, resamples: int
    ) -> list[Estimate] | None:
        """Scores of visits (N,) with intervals by patient, drawn within the label of each one's first visit.

        None: fewer than two patients of a label.
        """
        of_patients = is_rice[self.first]
        if min(of_patients.sum(), (~of_patients).sum()) < FEWEST:
            return None
        drawn = Resampling.of(of_patients, seed, resamples)
        return drawn.estimates([self._by_patient(statistic) for statistic in statistics])

    def _by_patient(self, statistic: Statistic) -> Statistic:
        def score(counts: Counts) -> NDArray[np.float64]:
            return statistic(counts[:, self.owner])

        return score


def read_visit_evidence(path: Path = VISITS_FILE) -> VisitEvidence | None:
    """What the stage `evidence` wrote; None where no patient has several labelled visits.

    Raises ResultError: not such a file.
    """
    return VisitEvidence.read(path, "evidence") if path.is_file() else None


def visit_times(cohort: CheckedCohort) -> dict[str, VisitTime]:
    """Of every sample of a checked cohort; days as its sessions tables say, else participants.tsv."""
    rows = read_participants(Path(cohort.root) / PARTICIPANTS_TABLE, cohort.label_names).participants
    return {
        one.participant_id: VisitTime(one.patient, one.visit, days_of(one, rows[one.patient]))
        for one in cohort.subjects
    }


def visit_evidence(
    predictions: Mapping[str, Sequence[Prediction]],
    events: set[str],
    times: Mapping[str, VisitTime],
    seed: int,
    resamples: int,
) -> VisitEvidence:
    """Scores at the first event, at every visit and by its number, and those of time alone.

    predictions: held out, of every visit, by modality set. events: samples that are first events. times: of
    every sample. Baselines are fitted to all visits of the other folds, as the networks are.
    """
    everyone = {p.participant_id: p for rows in predictions.values() for p in rows}
    held = HeldOut.of({"": list(everyone.values())})
    known: dict[str, dict[str, VariableValue]] = {
        s: {DAYS: times[s].days, NUMBER: float(times[s].number)} for s in held.subjects
    }
    by_time = {
        name: dict(zip(held.subjects, held_out_p_rice((name,), known, held).tolist(), strict=True))
        for name in TIME
        if len({values[name] for values in known.values()} - {None}) > 1
    }
    judged = _Judged(events, times, seed, resamples)
    patients = [times[subject].patient for subject in held.subjects]
    rows = list(everyone.values())
    return VisitEvidence(
        patients=len(set(patients)),
        several=sum(patients.count(patient) > 1 for patient in set(patients)),
        visits=len(patients),
        sets={name: judged.classified(of_set, by_time) for name, of_set in predictions.items()},
        time={name: judged.classified(_as_predictions(rows, p), {}) for name, p in by_time.items()},
    )


@dataclass(frozen=True)
class _Judged:
    events: set[str]
    times: Mapping[str, VisitTime]
    seed: int
    resamples: int

    def classified(
        self, rows: Sequence[Prediction], by_time: Mapping[str, Mapping[str, float]]
    ) -> ClassifiedVisits:
        numbers = sorted({self.times[p.participant_id].number for p in rows})
        return ClassifiedVisits(
            first_event=self._scores([p for p in rows if p.participant_id in self.events]),
            all_visits=self._scores(rows),
            by_number={
                number: self._scores([p for p in rows if self.times[p.participant_id].number == number])
                for number in numbers
            },
            gains={name: self._gain(rows, p_rice) for name, p_rice in by_time.items()},
        )

    def _scores(self, rows: Sequence[Prediction]) -> VisitScores:
        p_rice, is_rice = _columns(rows)
        clusters = self._clusters(rows)
        statistics = [scores.macro_f1(p_rice, is_rice), scores.auc(p_rice, is_rice)]
        found = clusters.estimates(statistics, is_rice, self.seed, self.resamples)
        counted = {"n": len(rows), "patients": len(clusters.first), "rice": int(is_rice.sum())}
        if found is None:
            return VisitScores(**counted, macro_f1=None, auc=None)
        # where no resample differs, first visits alone give the bound: more visits are no more patients
        bounds = exact_bounds(p_rice[clusters.first], is_rice[clusters.first])
        of_macro_f1, of_auc = found
        return VisitScores(
            **counted,
            macro_f1=or_bound(of_macro_f1, bounds["macro_f1"]),
            auc=or_bound(of_auc, bounds["auc"]),
        )

    def _gain(self, rows: Sequence[Prediction], by_time: Mapping[str, float]) -> VisitGain:
        p_rice, is_rice = _columns(rows)
        of_time = np.array([by_time[p.participant_id] for p in rows])
        statistics = [
            difference(score(p_rice, is_rice), score(of_time, is_rice))
            for score in (scores.macro_f1, scores.auc)
        ]
        found = self._clusters(rows).estimates(statistics, is_rice, self.seed, self.resamples)
        return VisitGain(**dict(zip(("macro_f1", "auc"), found or (None, None), strict=True)))

    def _clusters(self, rows: Sequence[Prediction]) -> Clusters:
        of_rows = [self.times[p.participant_id] for p in rows]
        return Clusters.of([one.patient for one in of_rows], [one.number for one in of_rows])


def visits_table(predictions: Mapping[str, Sequence[Prediction]], times: Mapping[str, VisitTime]) -> str:
    """TSV text of every visit's held-out prediction, by modality set; days n/a where not known."""
    header = ["patient", "visit", "days_rt_end_to_event", "participant_id", "label", "fold"]
    rows = [
        [
            *(time.patient, time.number, "n/a" if time.days is None else time.days),
            *(p.participant_id, p.label, p.fold, name, p.p_rice, predicted_label(p.p_rice)),
        ]
        for name, of_set in predictions.items()
        for p in of_set
        for time in [times[p.participant_id]]
    ]
    return table_text([*header, "modality_set", "p_rice", "predicted"], rows)


def _as_predictions(rows: Sequence[Prediction], p_rice: Mapping[str, float]) -> list[Prediction]:
    return [Prediction(p.participant_id, p.label, p.fold, p_rice[p.participant_id]) for p in rows]


def _columns(rows: Sequence[Prediction]) -> tuple[Probabilities, Truth]:
    return np.array([p.p_rice for p in rows]), np.array([p.label == "rice" for p in rows], dtype=np.bool_)
