"""Score the cross-validation: macro-F1 with intervals, tables and figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ricenet.cli import run_stage
from ricenet.cohort.checked import read_usable_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.splits import read_splits
from ricenet.config.params import read_params
from ricenet.display.drawing import save_figure
from ricenet.evaluation.anatomy_figure import scanned_anatomy, subject_to_show, volumes_figure
from ricenet.evaluation.figures import (
    confusion_figure,
    curves_table,
    learning_curves_figure,
    macro_f1_figure,
    read_histories,
)
from ricenet.evaluation.held_out import lacking, read_out_of_fold
from ricenet.evaluation.labels.held_out import read_out_of_fold_labels
from ricenet.evaluation.labels.metrics import label_out_of_fold_table, label_set_metrics
from ricenet.evaluation.metrics import metrics_table, out_of_fold_table, set_metrics
from ricenet.runtime.files import write_json, write_text
from ricenet.vocabulary import is_rice_task

logger = logging.getLogger("ricenet.stages.evaluate")

WORK = Path("work")
OUTPUT = WORK / "evaluation"


def main() -> None:
    """Write metrics.json, out_of_fold.tsv, table.csv, curves.csv and figures/."""
    params = read_params()
    volumes, splits, usable = (
        params.volumes,
        read_splits(WORK / "splits" / "splits.json"),
        read_usable_cohort(),
    )
    sets = volumes.in_order(params.modality_sets)
    two = is_rice_task(splits.label_names)
    read = read_out_of_fold if two else read_out_of_fold_labels
    predictions: Mapping[str, Sequence[Any]] = {
        name: read(WORK / "training", name, splits, lacking(usable, splits, name)) for name in sets
    }
    histories = {name: read_histories(WORK / "training", name, len(splits.folds)) for name in sets}
    drawn, labels = (params.seed, params.evidence.resamples), (splits.label_names, params.controls)
    metrics = {
        name: set_metrics(of, *drawn) if two else label_set_metrics(of, *labels, *drawn)
        for name, of in predictions.items()
    }
    for name, m in metrics.items():
        logger.info("%-20s macro-F1 %.3f, SD %.3f over folds", name, m.macro_f1_mean, m.macro_f1_sd)

    write_json(OUTPUT / "metrics.json", {name: m.model_dump() for name, m in metrics.items()})
    table = out_of_fold_table(predictions) if two else label_out_of_fold_table(predictions, labels[0])
    write_text(OUTPUT / "out_of_fold.tsv", table)
    write_text(OUTPUT / "table.csv", metrics_table(metrics))
    write_text(OUTPUT / "curves.csv", curves_table(histories))

    subject = subject_to_show(splits)
    raw = RawSubject(Path(params.cohort.root), subject, volumes)
    anatomy = scanned_anatomy(raw, WORK / "preprocessed" / subject, splits.labels[subject])
    for stem, figure in {
        "macro_f1": macro_f1_figure(metrics, {}, volumes),
        "confusion": confusion_figure(
            {name: m.confusion for name, m in metrics.items()}, volumes, splits.label_names
        ),
        "learning_curves": learning_curves_figure(histories, volumes),
        "volumes": volumes_figure(anatomy),
    }.items():
        save_figure(figure, OUTPUT / "figures" / f"{stem}.png")


if __name__ == "__main__":
    run_stage(main)
