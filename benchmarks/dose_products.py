"""What products of dose and lesion gain where they are the cause, and cost where they are not.

    python benchmarks/dose_products.py                     # ten minutes on one core, most of it phantoms

The regressions of `fusion: mean` and `fusion: products` alone, without networks, fitted to n phantoms of
`event+dose` and judged on others. The mechanisms differ in labels alone: their images are the same. Prints a
figure a mechanism: AUC with products less AUC without.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figure import report
from phantom_inputs import make_inputs
from sklearn.metrics import roc_auc_score

from ricenet.cli.running import log_to_stderr
from ricenet.config.params import read_params
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.phantom.phantom_subject import draw_cause
from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.dose_products import SOLID, DoseProducts, solid_features
from ricenet.training.group_regression import FeatureGroup, fit_group_regression
from ricenet.training.input_features import input_features
from ricenet.vocabulary import PAPER_VOLUMES

SEEDS = (5101, 5102)
"""Of those who are learned from and of the judged: with them nothing was chosen."""

GOALS = {"interaction": 0.10, "clinical": -0.02, "event_core": -0.02, "none": -0.05}
"""Least difference of AUC: a gain where the product is the cause, little lost elsewhere."""


def main() -> None:
    """Make what is not there yet, and print a figure a mechanism."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/interaction/interaction"))
    parser.add_argument("--subjects", type=int, default=80)
    parser.add_argument("--judged", type=int, default=120)
    arguments = parser.parse_args()
    log_to_stderr()
    params = read_params()
    members = PAPER_VOLUMES.members("event+dose")
    names, grid = [spec.name for spec in members], params.preprocessing.grids["crop"]
    everyone, volumes = [], []
    for kind, seed, count in zip(
        ("pool", "judged"), SEEDS, (arguments.subjects, arguments.judged), strict=True
    ):
        subjects = [f"sub-{k:03d}" for k in range(1, count + 1)]
        folder = arguments.work / f"{kind}-{seed}"
        causes = [draw_cause(subject, seed, MECHANISMS["interaction"]) for subject in subjects]
        make_inputs(folder, params, causes, seed)
        everyone += [(subject, seed) for subject in subjects]
        volumes += [read_volumes(folder / subject, subject, names, grid) for subject in subjects]
    seen = np.stack(volumes)
    learned = np.arange(len(everyone)) < arguments.subjects
    known = [*input_features(seen, names), *solid_features(seen, members)]
    products = DoseProducts.fitted([group.rows(learned) for group in known], "dose")
    without = [group for group in known if not group.name.endswith(f" {SOLID}")]
    for mechanism, goal in GOALS.items():
        labels = [draw_cause(subject, seed, MECHANISMS[mechanism]).label for subject, seed in everyone]
        is_rice = np.array([label == "rice" for label in labels])
        before = auc(without, is_rice, learned)
        after = auc([*known, *products.of(known)], is_rice, learned)
        report(
            f"dose_products/{mechanism}/n{arguments.subjects}/auc_gain",
            after - before,
            f">= {goal}",
            f"with products {after:.3f}, without {before:.3f}; {arguments.judged} judged",
            after - before >= goal,
        )


def auc(groups: list[FeatureGroup], is_rice: np.ndarray, learned: np.ndarray) -> float:
    """On those who were not learned from. is_rice, learned: (N,)."""
    fitted = fit_group_regression([group.rows(learned) for group in groups], is_rice[learned])
    says = fitted.logits([group.rows(~learned) for group in groups])
    return float(roc_auc_score(is_rice[~learned], says))


if __name__ == "__main__":
    main()
