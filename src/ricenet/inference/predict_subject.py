"""One subject from raw files to a prediction, by the code that preprocessed the training subjects."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import PreprocessingParams
from ricenet.inference.case import CaseFiles, laid_out
from ricenet.inference.test_vote import DecisionThreshold, SubjectVote, count_votes
from ricenet.inference.training_ranges import TrainingRanges, preprocessed_quantities, spacings_mm
from ricenet.preprocessing import preprocess_subject
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import RegistryError
from ricenet.training.ensemble import Ensemble, EnsembleRecord
from ricenet.vocabulary import members

NOTICE = "Research use only: not a medical device, not for clinical use."


@dataclass(frozen=True)
class Prediction:
    """The folds' vote on a subject, what was measured on the way, and what speaks against trusting it."""

    vote: SubjectVote
    measurements: Mapping[str, float]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The prediction for a machine to read."""
        return {
            "label": self.vote.predicted,
            "three_way": self.vote.three_way,
            "p_rice": self.vote.p_rice,
            "p_rice_folds": list(self.vote.p_rice_folds),
            "votes_rice": self.vote.votes_rice,
            "folds": len(self.vote.p_rice_folds),
            "warnings": list(self.warnings),
            "measurements": dict(self.measurements),
        }


def predict_case(
    files: CaseFiles,
    ensemble: Ensemble,
    seed: int,
    ranges: TrainingRanges,
    threshold: DecisionThreshold | None = None,
) -> Prediction:
    """Predict a new case from its files. threshold: of the three-way vote, where the model has one.

    The registration's seed is that of a training subject called `case` in a project with this seed.
    Raises CohortError: files that cannot be used. ScanError: as `preprocess`.
    Raises RegistryError: a model whose preprocessing this version does not know.
    """
    require_known_preprocessing(ensemble.record)
    with laid_out(files) as raw:
        return predict_subject(raw, ensemble, seed, ranges, threshold)


def predict_subject(
    raw: RawSubject,
    ensemble: Ensemble,
    seed: int,
    ranges: TrainingRanges,
    threshold: DecisionThreshold | None = None,
) -> Prediction:
    """Preprocess a raw subject with the model's own settings, and let the folds vote on it.

    With the project's seed, a training subject's volumes are those that it was trained on.
    Raises ScanError: as `preprocess`.
    """
    params = require_known_preprocessing(ensemble.record)
    result = preprocess_subject.preprocess(raw, params, seed)
    with tempfile.TemporaryDirectory(prefix="ricenet-volumes-") as name:
        folder = Path(name)
        # by way of the files: whatever training is fed, a prediction is fed
        preprocess_subject.write_subject(result, folder, raw, params.dose_unit_gy)
        names = members(ensemble.modality_set)
        volumes = read_volumes(folder, raw.subject, names, params.cube_voxels)
    p_rice_folds = ensemble.predict(volumes[np.newaxis])
    (vote,) = count_votes([raw.subject], ["n/a"], p_rice_folds, threshold)
    measurements = preprocessed_quantities(result.measurements, raw.volumes) | spacings_mm(raw)
    return Prediction(vote, measurements, ranges.warnings(measurements))


def require_known_preprocessing(record: EnsembleRecord) -> PreprocessingParams:
    """The settings with which a model's volumes were made. record: the content of ensemble.json.

    Raises RegistryError: they are not those of this version of ricenet.
    """
    try:
        return PreprocessingParams.model_validate(record.preprocessing)
    except ValidationError as error:
        wrong = sorted({".".join(str(part) for part in e["loc"]) or "all of it" for e in error.errors()})
        raise RegistryError(
            f"the model {record.modality_set} ({record.digest[:12]}) was preprocessed with settings "
            f"that this version of ricenet does not know ({', '.join(wrong)}); use the version that trained "
            "it, or train again"
        ) from None
