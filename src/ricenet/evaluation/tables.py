"""The tables that the evaluation writes, as text with repeatable bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ricenet.evaluation import paper
from ricenet.evaluation.figures import in_paper_order
from ricenet.evaluation.metrics import SetMetrics
from ricenet.evaluation.predictions import predicted_label
from ricenet.runtime.tables import table_text
from ricenet.training.predictions import Prediction


def out_of_fold_table(predictions: Mapping[str, Sequence[Prediction]]) -> str:
    """TSV text of every out-of-fold prediction, by modality set and then by subject."""
    header = ["participant_id", "label", "fold", "modality_set", "p_rice", "predicted"]
    rows = [
        [p.participant_id, p.label, p.fold, name, p.p_rice, predicted_label(p.p_rice)]
        for name in in_paper_order(predictions)
        for p in predictions[name]
    ]
    return table_text(header, rows)


def metrics_table(metrics: Mapping[str, SetMetrics]) -> str:
    """CSV text of each modality set's macro-F1, its interval, and the paper's number."""
    header = ["set", "macro_f1_mean", "macro_f1_sd", "ci_low", "ci_high", "paper"]
    rows = [
        [
            name,
            *(f"{v:.4f}" for v in (m.macro_f1_mean, m.macro_f1_sd, m.ci_low, m.ci_high)),
            paper.as_printed(paper.VALIDATION_MACRO_F1[name]),
        ]
        for name, m in ((name, metrics[name]) for name in in_paper_order(metrics))
    ]
    return table_text(header, rows, ",")
