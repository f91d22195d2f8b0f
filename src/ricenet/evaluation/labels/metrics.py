"""Macro-F1 by fold and pooled of any number of labels, and their confusion; also among events alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ricenet.evaluation.intervals import Estimate, constant, or_bound
from ricenet.evaluation.labels.held_out import Classes, LabelHeldOut
from ricenet.evaluation.labels.scores import macro_f1, one_hot, score_bounds
from ricenet.evaluation.metrics import LabelConfusion, SetMetrics
from ricenet.runtime.tables import table_text
from ricenet.training.label_predictions import LabelPrediction, columns_of, macro_f1_of_classes, top_labels
from ricenet.vocabulary import LabelNames

AMONG_EVENTS = (
    "Among events alone: of the subjects who had one, with probabilities that add up to 1 over the events' "
    "labels. A network that only learnt whether there is a lesion scores well over all labels, and no better "
    "than chance here."
)
"""Why these results stand beside those of all labels."""


def events_of(label_names: LabelNames, controls: Sequence[str]) -> LabelNames:
    """The labels whose subjects had an event; none where all are, so that nothing is said twice."""
    return tuple(name for name in label_names if name not in controls) if controls else ()


def confusion_counts(truth: Classes, said: Classes, classes: int) -> LabelConfusion:
    """Counts (K, K): rows are labels, columns predictions, both in the order of the labels."""
    found = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(found, (truth, said), 1)
    return tuple(tuple(row) for row in found.tolist())


def macro_f1_interval(truth: Classes, said: Classes, held_out: LabelHeldOut, seed: int, n: int) -> Estimate:
    """The macro-F1 of labels that were said, with its interval (`ricenet.evaluation.labels.scores`)."""
    classes = len(held_out.label_names)
    found = constant(macro_f1_of_classes(truth, said, classes))
    if held_out.least > 1:
        (found,) = held_out.resampling(seed, n).estimates([macro_f1(said, truth, classes)])
    return or_bound(found, score_bounds(one_hot(said, classes), truth)["macro_f1"])


def label_set_metrics(
    predictions: Sequence[LabelPrediction],
    label_names: LabelNames,
    controls: Sequence[str],
    seed: int,
    resamples: int,
) -> SetMetrics:
    """Metrics of one modality set from its out-of-fold predictions (at least two folds).

    controls: labels of subjects without an event; where there are any, the metrics among events alone too.
    """
    held_out = LabelHeldOut.of({"": predictions}, label_names)
    events = events_of(label_names, controls)
    found = _metrics(held_out, seed, resamples)
    if events:
        found = found.model_copy(update={"among_events": _metrics(held_out.among(events), seed, resamples)})
    return found


def _metrics(held_out: LabelHeldOut, seed: int, resamples: int) -> SetMetrics:
    truth, said, classes = held_out.truth, held_out.said(""), len(held_out.label_names)
    by_fold = [
        macro_f1_of_classes(truth[held_out.fold == k], said[held_out.fold == k], classes)
        for k in sorted(set(held_out.fold.tolist()))
    ]
    pooled = macro_f1_interval(truth, said, held_out, seed, resamples)
    return SetMetrics(
        macro_f1_mean=float(np.mean(by_fold)),
        macro_f1_sd=float(np.std(by_fold, ddof=1)),
        macro_f1_folds=tuple(by_fold),
        macro_f1_pooled=pooled.value,
        ci_low=pooled.low,
        ci_high=pooled.high,
        confusion=confusion_counts(truth, said, classes),
        n=len(truth),
        label_names=held_out.label_names,
    )


def label_out_of_fold_table(
    predictions: Mapping[str, Sequence[LabelPrediction]], label_names: LabelNames
) -> str:
    """TSV text of every out-of-fold prediction, by modality set and then by subject."""
    header = ["participant_id", "label", "fold", "modality_set", *columns_of(label_names), "predicted"]
    rows = [
        [p.participant_id, p.label, p.fold, name, *p.probabilities, label_names[said]]
        for name, of_set in predictions.items()
        for p in of_set
        for said in top_labels(np.array([p.probabilities]))
    ]
    return table_text(header, rows)
