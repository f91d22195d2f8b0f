"""What a network gains where dose and lesion tell something together that neither tells alone.

    python benchmarks/interaction.py                       # half an hour a mechanism on one core
    python benchmarks/interaction.py --recipes visits --together post_op+event+dose
    python benchmarks/interaction.py --mechanisms interaction --recipes products --steps 100

Two mechanisms of the phantom are such (docs/phantom.md): `interaction`, the product of the signs of dose and
lesion, and `dose_at_lesion`, whether the lesion lies in the dose's plateau. Ensembles of five folds are
trained on n subjects, with each volume alone and with dose and lesion together, and judged on phantoms that
nobody trained on. Prints a table, then a figure a line: the AUC of both together less that of the best single
volume, in the mean over draws. The recipe `visits` is `small_cohort` with the network of that name,
`products` is `small_cohort` with `fusion: products`. `--steps` shortens the training of all networks alike.
Settings are chosen with other seeds (`--seeds`) than those that judge by default.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from figure import report
from numpy.typing import NDArray
from phantom_inputs import make_inputs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from small_cohorts import RECIPE, Cohorts, Found, judged, planned, shown

from ricenet.cli.running import log_to_stderr
from ricenet.config.network_params import VisitsParams
from ricenet.config.params import Params, read_params
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import Cause, draw_cause
from ricenet.training.cross_validation import train_folds
from ricenet.vocabulary import in_recipe

SEEDS = (5101, 5102)
"""Of the pool and of the judged: with them nothing was chosen."""

SINGLE = ("event", "dose")
GOAL = 0.10
"""Of AUC, gained by both over the better one alone."""


def main() -> None:
    """Train what is not there yet, print the table, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/interaction"))
    parser.add_argument("--mechanisms", nargs="+", default=["interaction", "dose_at_lesion"])
    parser.add_argument("--recipes", nargs="+", default=[RECIPE])
    parser.add_argument("--together", choices=["event+dose", "post_op+event+dose"], default="event+dose")
    parser.add_argument("--seeds", type=int, nargs=2, default=SEEDS, metavar=("POOL", "JUDGED"))
    parser.add_argument("--steps", type=int, help="of every network, in place of the recipe's")
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--judged", type=int, default=200)
    arguments = parser.parse_args()
    log_to_stderr()
    params = read_params()
    for mechanism in arguments.mechanisms:
        counts = dict(
            zip(arguments.seeds, (arguments.subjects * arguments.draws, arguments.judged), strict=True)
        )
        causes = {
            seed: [draw_cause(f"sub-{k:03d}", seed, MECHANISMS[mechanism]) for k in range(1, count + 1)]
            for seed, count in counts.items()
        }
        work = arguments.work / mechanism
        pool, others = arguments.seeds
        make_inputs(work / f"pool-{pool}", params, causes[pool], pool)
        make_inputs(work / f"judged-{others}", params, causes[others], others)
        cohorts = Cohorts(causes[pool], causes[others], pool, others)
        print(f"{mechanism}: with the true probabilities {shown(cohorts.ceiling)}")
        for terms, auc in learned_from_features(cohorts, arguments.subjects).items():
            print(f"  a logistic regression on the true {terms}, from {arguments.subjects}: AUC {auc:.3f}")
        for recipe in arguments.recipes:
            compare(params, mechanism, cohorts, recipe, work, arguments)


def learned_from_features(cohorts: Cohorts, n: int) -> dict[str, float]:
    """AUC of regressions that see x_dose and x_event themselves, fitted to the first n of the pool."""

    def design(causes: Sequence[Cause], product: bool) -> NDArray[np.float64]:
        dose, event = np.array([(cause.evidence.dose, cause.evidence.event) for cause in causes]).T
        return np.column_stack([dose, event, *([dose * event] if product else [])])

    is_rice = [cause.label == "rice" for cause in cohorts.pool[:n]]
    found = {}
    for terms, product in (("x_dose and x_event", False), ("x_dose, x_event and their product", True)):
        fitted = LogisticRegression().fit(design(cohorts.pool[:n], product), is_rice)
        says = fitted.decision_function(design(cohorts.judged, product))
        found[terms] = float(roc_auc_score(cohorts.is_rice, says))
    return found


def compare(
    params: Params, mechanism: str, cohorts: Cohorts, recipe: str, work: Path, arguments: argparse.Namespace
) -> None:
    """Train the single volumes by the recipe for small cohorts and both together by this one; print the
    gain.
    """
    names = [*(in_recipe(name, RECIPE) for name in SINGLE), in_recipe(arguments.together, recipe)]
    n = arguments.subjects
    small = params.by_recipe[RECIPE]
    steps = {} if arguments.steps is None else {"steps": arguments.steps}
    small = replace(small, training=small.training.model_copy(update=steps))
    with_products = small.training.model_copy(update={"fusion": "products"})
    further = {
        RECIPE: small,
        "visits": replace(small, network=VisitsParams()),
        "products": replace(small, training=with_products),
    }
    draws = [planned(params, cohorts, names, n, draw, work, further) for draw in range(arguments.draws)]
    start = time.monotonic()
    train_folds([task for draw in draws for tasks in draw.values() for task in tasks], params.execution)
    print(f"  {recipe}: trained in {time.monotonic() - start:.0f} s")
    for alone in (False, True):
        found: dict[str, list[Found]] = {
            name: [judged(draw[name], params, cohorts, work, network_alone=alone) for draw in draws]
            for name in names
        }
        means = {name: Found(*np.mean(of_draws, axis=0).tolist()) for name, of_draws in found.items()}
        for name, mean in means.items():
            print(f"  {name:<28}{', network alone' if alone else '':<15} {shown(mean)}")
        *single, together = (mean.auc for mean in means.values())
        report(
            f"interaction/{mechanism}/{names[-1]}/n{n}{'/network_alone' if alone else ''}/auc_gain",
            together - max(single),
            f">= {GOAL}",
            f"{arguments.together} {together:.3f}, event {single[0]:.3f}, dose {single[1]:.3f}, "
            f"the true probabilities {cohorts.ceiling.auc:.3f}; {len(cohorts.judged)} judged, "
            f"{len(draws)} draw(s)",
            together - max(single) >= GOAL,
        )


if __name__ == "__main__":
    main()
