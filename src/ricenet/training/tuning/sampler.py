"""The sampler: TPE, with randomness that depends on the trial's number and on nothing before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ricenet.runtime.randomness import seed_for


class CountedSampler(BaseSampler):
    """A new TPE sampler for every trial, seeded by the study's key and the trial's number.

    One seed for all would draw the first trials again when a search is resumed, and the same ones in two
    workers; numbers are given out by the database, each once.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._sampler: BaseSampler = TPESampler()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Start anew for this trial."""
        # numpy takes 32 bits
        self._sampler = TPESampler(seed=seed_for("tuning", self._key, trial.number) % 2**32)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Which settings are drawn together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Settings drawn together."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A setting drawn alone."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """A trial has ended."""
        self._sampler.after_trial(study, trial, state, values)
