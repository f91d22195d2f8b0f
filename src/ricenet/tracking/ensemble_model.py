"""A registered ensemble as MLflow loads it: this file is copied into the model; nothing is pickled."""

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
        """Read the weights of all folds."""
        from ricenet.training.ensemble import Ensemble

        self._ensemble = Ensemble.load(Path(context.artifacts["ensemble"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow knows no other spelling
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predict preprocessed volumes (N, C, X, Y, Z), C the set's modalities.

        Returns a row a volume: fold_0, fold_1, ... (each fold's p_rice), votes_rice, p_rice, label.
        """
        from ricenet.inference.test_vote import votes_for_rice
        from ricenet.training.ensemble import majority_vote
        from ricenet.vocabulary import LABELS

        p_rice_folds = np.asarray(self._ensemble.predict(model_input), dtype=np.float64)
        columns: dict[str, Any] = {f"fold_{k}": p_rice_folds[:, k] for k in range(p_rice_folds.shape[1])}
        columns["votes_rice"] = votes_for_rice(p_rice_folds)
        columns["p_rice"] = p_rice_folds.mean(axis=1)
        columns["label"] = [LABELS[int(is_rice)] for is_rice in majority_vote(p_rice_folds)]
        return pd.DataFrame(columns)


mlflow.models.set_model(EnsembleModel())
