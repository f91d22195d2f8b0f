"""One network that may lack volumes, from every subset of them: scores, decisions, and separate networks
beside it.

What decides a new case that lacks volumes, recalibration, threshold and sets of labels, is fitted to the
held-out answers from the very volumes that it has, as for all volumes (`calibration`, `abstention`,
`conformal`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ricenet.evaluation.evidence.abstention import threshold_for_new
from ricenet.evaluation.evidence.calibration import recalibration
from ricenet.evaluation.evidence.calibration_record import SubsetDecision
from ricenet.evaluation.evidence.comparison import compare_pairs
from ricenet.evaluation.evidence.conformal import conformal_sets
from ricenet.evaluation.evidence.record import MissingVolumes, SubsetEvidence
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.scores import scores_with_intervals
from ricenet.training.predictions import Prediction
from ricenet.vocabulary import volumes_and_recipe

Rows = Sequence[Prediction]


def missing_volumes(
    by_subset: Mapping[str, Mapping[str, Rows]],
    predictions: Mapping[str, Rows],
    seed: int,
    resamples: int,
    target_error: float,
    coverage: float,
) -> tuple[MissingVolumes, ...]:
    """The evidence of each modality set whose networks may lack volumes.

    by_subset: their held-out predictions by set, then by the volumes that were there. predictions: of all
    sets; those with the same volumes whose networks need all of theirs are compared, as many pairs as there
    are corrected together.
    """
    separate = {name: rows for name, rows in predictions.items() if name not in by_subset}
    return tuple(
        MissingVolumes(
            modality_set=name,
            subsets=tuple(
                _of_subset(subset, rows, seed, resamples, target_error, coverage)
                for subset, rows in of_set.items()
            ),
            comparisons=compare_pairs(
                {**{answers_from(name, subset): rows for subset, rows in of_set.items()}, **separate},
                seed,
                resamples,
                [
                    (answers_from(name, subset), other)
                    for subset in of_set
                    for other in separate
                    if volumes_and_recipe(other)[0] == subset
                ],
            ),
        )
        for name, of_set in by_subset.items()
    )


def answers_from(modality_set: str, subset: str) -> str:
    """The name of a network's answers from some of its volumes.

    >>> answers_from("post_op+dose@any", "dose")
    'post_op+dose@any from dose'
    """
    return f"{modality_set} from {subset}"


def _of_subset(
    subset: str, rows: Rows, seed: int, resamples: int, target_error: float, coverage: float
) -> SubsetEvidence:
    held = HeldOut.of({subset: rows})
    p_rice, is_rice, fold = held.p_rice[subset], held.is_rice, held.fold
    by = recalibration(p_rice, is_rice, fold)
    return SubsetEvidence(
        volumes=subset,
        scores=scores_with_intervals(p_rice, is_rice, seed, resamples),
        decision=SubsetDecision(
            recalibration=by,
            threshold=threshold_for_new(p_rice, is_rice, by, target_error),
            conformal=conformal_sets(p_rice, is_rice, fold, coverage).thresholds,
        ),
    )
