"""A registered ensemble as MLflow loads it, for users outside ricenet: this file is copied into the model.

Nothing is pickled. ricenet itself reads the files with `Ensemble.load`, and executes nothing from a store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class EnsembleModel(PythonModel):
    """The folds of one modality set and their majority vote."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights of all folds, and the calibration, if there was evidence at registration."""
        from ricenet.inference.label_answers import LabelDecision
        from ricenet.inference.three_way import DecisionThreshold
        from ricenet.training.ensemble import Ensemble
        from ricenet.vocabulary import is_rice_task

        self._ensemble = Ensemble.load(Path(context.artifacts["ensemble"]))
        self._threshold: DecisionThreshold | None = None
        self._decision: LabelDecision | None = None
        if "decision" in context.artifacts:
            path = Path(context.artifacts["decision"])
            if is_rice_task(self._ensemble.record.label_names):
                self._threshold = DecisionThreshold.read(path, "register")
            else:
                self._decision = LabelDecision.read(path, "register")

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow knows no other spelling
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predict preprocessed volumes (N, C, X, Y, Z), C the set's volumes.

        model_input: the volumes; or, where variables were declared, arrays by name: `volumes`, and (N,) of
        each variable, where NaN or an empty text is a missing value.
        Returns a row per subject: fold_0, fold_1, ... (each fold's p_rice), votes_rice, p_rice,
        p_rice_calibrated (NaN without evidence), label, three_way (n/a without evidence). Of other labels
        than the paper's two the columns of `ricenet.inference.label_answers.vote_columns`.
        """
        from ricenet.inference.label_answers import count_label_votes
        from ricenet.inference.test_vote import count_votes
        from ricenet.vocabulary import is_rice_task

        given = model_input if isinstance(model_input, dict) else {"volumes": model_input}
        variables = {
            f"row {row}": {
                spec.name: _value(given[spec.name][row]) for spec in self._ensemble.record.variables
            }
            for row in range(len(given["volumes"]))
        }
        names = self._ensemble.record.label_names
        if not is_rice_task(names):
            folds = self._ensemble.probabilities(given["volumes"], variables)
            rows = list(variables)
            counted = count_label_votes(rows, ["n/a"] * len(rows), folds, names, self._decision)
            return _of_labels(counted, names, folds.shape[1])
        p_rice_folds = self._ensemble.predict(given["volumes"], variables)
        columns: dict[str, Any] = {f"fold_{k}": p_rice_folds[:, k] for k in range(p_rice_folds.shape[1])}
        rows = list(variables)
        votes = count_votes(rows, ["n/a"] * len(rows), p_rice_folds, self._threshold)
        columns["votes_rice"] = [vote.votes_rice for vote in votes]
        columns["p_rice"] = [vote.p_rice for vote in votes]
        columns["p_rice_calibrated"] = [
            np.nan if vote.p_rice_calibrated is None else vote.p_rice_calibrated for vote in votes
        ]
        columns["label"] = [vote.predicted for vote in votes]
        columns["three_way"] = [vote.three_way for vote in votes]
        return pd.DataFrame(columns)


def _of_labels(votes: list[Any], label_names: tuple[str, ...], folds: int) -> pd.DataFrame:
    from ricenet.inference.label_answers import vote_columns

    rows = [
        [
            *(p for fold in vote.folds for p in fold),
            *vote.votes,
            *vote.p,
            *([np.nan] * len(vote.p) if vote.calibrated is None else vote.calibrated),
            *(vote.predicted, vote.answer),
        ]
        for vote in votes
    ]
    return pd.DataFrame(rows, columns=vote_columns(label_names, folds))


def _value(given: Any) -> float | str | None:
    if isinstance(given, str):
        return str(given) or None
    return None if np.isnan(given) else float(given)


mlflow.models.set_model(EnsembleModel())
