"""One subject from raw files to a prediction, by the code that preprocessed the training subjects."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.table_variables import number_in
from ricenet.config.inputs import CROPS, Box
from ricenet.importing.sources import PatientSource
from ricenet.inference.case import CASE, CaseFiles, laid_out, require_volumes
from ricenet.inference.dicom_case import case_files
from ricenet.inference.label_answers import LabelDecision, LabelVote
from ricenet.inference.missing_volumes import (
    decision_from,
    missing_of,
    read_present,
    said_of_missing,
    volumes_of_case,
)
from ricenet.inference.test_vote import SubjectVote, count_votes, voted
from ricenet.inference.three_way import DecisionThreshold
from ricenet.inference.training_ranges import TrainingRanges, preprocessed_quantities, spacings_mm
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.preprocess_subject import Began
from ricenet.preprocessing.subject_files import write_subject
from ricenet.preprocessing.subject_variables import measured_variables
from ricenet.runtime.errors import VariableError
from ricenet.training.brain_box import beyond_box_ml
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.training.variables import SubjectVariables, VariableEncoder
from ricenet.vocabulary import VariableValue, is_rice_task
from ricenet.volume import Volume

NOTICE = "Research use only: not a medical device, not for clinical use."
VOTE_STEP = "vote of the folds"


@dataclass(frozen=True)
class Prediction:
    """The folds' vote on a subject, what was measured on the way, and what speaks against trusting it.

    variables: of the subject, as the model declares them. used: names of the volumes and variables that the
    networks saw. missing: volumes that they had to do without; None of a model that needs all of its volumes.
    """

    vote: SubjectVote | LabelVote
    measurements: Mapping[str, float]
    variables: SubjectVariables
    used: tuple[str, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """The prediction for a machine to read; probabilities to four places, measurements to six digits."""
        return {
            **self._vote_as_json(),
            "used": list(self.used),
            **({} if self.missing is None else {"missing": list(self.missing)}),
            "variables": dict(self.variables),
            "warnings": list(self.warnings),
            "measurements": {name: float(f"{value:.6g}") for name, value in self.measurements.items()},
        }

    def _vote_as_json(self) -> dict[str, Any]:
        if isinstance(self.vote, LabelVote):
            return self.vote.as_json()
        decision = self.vote.decision
        return {
            "label": self.vote.predicted,
            "three_way": decision.answer,
            "three_way_why": decision.why,
            "p_rice_calibrated": _rounded(decision.p_rice),
            "p_rice": _rounded(self.vote.p_rice),
            "confidence": _rounded(decision.confidence),
            "least_confidence": _rounded(decision.least_confidence),
            "label_set": None if decision.labels is None else list(decision.labels),
            "label_set_coverage": decision.labels_coverage,
            "label_set_why": decision.labels_why,
            "p_rice_folds": [_rounded(p) for p in self.vote.p_rice_folds],
            "votes_rice": self.vote.votes_rice,
            "folds": len(self.vote.p_rice_folds),
        }


@dataclass(frozen=True)
class Predictor:
    """A model with all that a prediction takes; it holds no network, so that it travels between processes.

    files: a folder that `Ensemble.load` takes. seed: the project's. threshold: of the three-way vote, where
    the model has one.
    """

    files: Path
    seed: int
    ranges: TrainingRanges
    threshold: DecisionThreshold | LabelDecision | None = None

    @property
    def ensemble(self) -> Ensemble:
        """The model, read once in each process."""
        return _loaded(self.files)

    def case(self, given: CaseFiles) -> Prediction:
        """Predict a new case from its files or DICOM folders.

        The registration's seed is that of a training subject called `case` in a project with this seed.
        Raises CohortError: files that cannot be used. VariableError: a variable that cannot be used.
        ScanError: as `preprocess`. RegistryError: a model whose preprocessing this version does not know.
        """
        with self.opened(given) as (raw, variables):
            return self.subject(raw, variables)

    @contextlib.contextmanager
    def opened(
        self, given: CaseFiles, source: PatientSource | None = None
    ) -> Iterator[tuple[RawSubject, SubjectVariables]]:
        """A new case, checked, as a raw subject with its variables, for as long as the block lasts.

        source: as `case_files` takes it.
        Raises CohortError, VariableError, RegistryError: as `case`.
        """
        record = self.ensemble.record
        record.known_preprocessing()
        require_volumes(given, record)
        variables = parsed_variables(given.variables, record)
        volumes = volumes_of_case(record, given.volumes, CASE)
        with case_files(given, volumes, self.seed, source) as files, laid_out(files, volumes) as raw:
            yield raw, variables

    def subject(
        self,
        raw: RawSubject,
        variables: SubjectVariables,
        kept: Path | None = None,
        began: Began = preprocess_subject.untold,
    ) -> Prediction:
        """Preprocess a raw subject with the model's own settings, and let the folds vote on it.

        With the project's seed, a training subject's volumes are those that it was trained on.
        variables: those that are not measured. kept: a folder for what preprocessing makes, which is
        temporary without one. began: told of each step of preprocessing, and of `VOTE_STEP`.
        Raises ScanError: as `preprocess`. VariableError.
        """
        record = self.ensemble.record
        params = record.known_preprocessing()
        if record.input not in CROPS:
            # crops that no network sees are no reason to refuse a case
            params = params.model_copy(update={"crop": None})
        require_known_variables({raw.subject: variables}, record)
        result = preprocess_subject.preprocess(raw, params, self.seed, began)
        began(VOTE_STEP)
        names = [spec.name for spec in record.members]
        missing = missing_of(record, raw.volumes)
        with _folder(kept) as folder:
            # by way of the files: whatever training is fed, a prediction is fed
            write_subject(result, folder, raw, params.dose_unit_gy)
            volumes = read_present(folder, raw.subject, names, missing, record.grid)
        measured = measured_variables(result.measurements, record.volumes, record.variables)
        known = {spec.name: {**variables, **measured}.get(spec.name) for spec in record.variables}
        seen_by = volumes[np.newaxis], {raw.subject: known}
        vote: SubjectVote | LabelVote
        if isinstance(self.threshold, LabelDecision) or not is_rice_task(record.label_names):
            folds = self.ensemble.probabilities(*seen_by)
            (vote,) = voted([raw.subject], ["n/a"], folds, record.label_names, self.threshold)
        else:
            threshold, otherwise = decision_from(record, self.threshold, missing)
            (vote,) = count_votes([raw.subject], ["n/a"], self.ensemble.predict(*seen_by), threshold)
            if threshold is None:
                vote = replace(vote, decision=otherwise)
        measurements = preprocessed_quantities(result.measurements, raw.volumes) | spacings_mm(raw)
        seen = [name for name in names if name not in missing]
        used = (*seen, *(known if record.network.uses_variables else ()))
        said = said_of_missing(record, raw.volumes, missing)
        warnings = (*said, *_cut(result.brain, record.box), *self.ranges.warnings(measurements))
        may_lack = record.network.may_lack_volumes
        return Prediction(vote, measurements, known, used, warnings, missing if may_lack else None)


def parsed_variables(
    given: Mapping[str, str], record: EnsembleRecord, subject: str = CASE
) -> dict[str, VariableValue]:
    """Variables as the model declares them, from text; n/a or nothing where a value is not known.

    Raises VariableError: not declared, measured by preprocessing, no number, or a level that training did not
    see.
    """
    specs = {spec.name: spec for spec in record.variables}
    values: dict[str, VariableValue] = {}
    for name, text in given.items():
        spec = specs.get(name)
        if spec is not None and spec.measured:
            found = "measured on the subject's own volumes, so it is not stated"
            raise VariableError(subject, name, found, "Leave it out")
        if text.strip() in ("", "n/a"):
            values[name] = None
        elif spec is not None and spec.kind == "number":
            number = number_in(text.strip())
            values[name] = text if number is None else number
        else:
            values[name] = text.strip()
    require_known_variables({subject: values}, record)
    return values


def require_known_variables(values: Mapping[str, SubjectVariables], record: EnsembleRecord) -> None:
    """Refuse values that the model could not take, also where its networks use none.

    Raises VariableError: not declared, no number, or a level that the training of a fold did not see.
    """
    for encoder in record.encoders or (VariableEncoder(),):
        encoder.encode(values)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="ricenet-volumes-") as name:
        yield Path(name)


def _cut(brain: Volume, box: Box | None) -> Iterator[str]:
    """What to say where a brain reaches beyond the box that the networks see. brain: mask on the cube."""
    if box is not None and (lost_ml := beyond_box_ml(brain, box)) > 0:
        yield (
            f"{lost_ml:.3g} ml of the brain are cut off: they lie beyond the box of the training subjects' "
            "brains, outside of which the networks see nothing"
        )


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)


@functools.lru_cache(maxsize=1)
def _loaded(files: Path) -> Ensemble:
    return Ensemble.load(files)
