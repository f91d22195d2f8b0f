"""Explaining one subject by some of an ensemble's networks, from what preprocessing made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.layout import RawSubject
from ricenet.evaluation.anatomy_figure import Anatomy, read_anatomy
from ricenet.evaluation.occlusion.explained_case import TOGETHER, Case, Explanation, FoldVote, structure_doses
from ricenet.evaluation.occlusion.map_summary import summarise
from ricenet.evaluation.occlusion.sensitivity import OcclusionMap, Progress, occlusion_maps
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import ResultError
from ricenet.runtime.randomness import seed_for
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.variables import SubjectVariables
from ricenet.vocabulary import LABELS

if TYPE_CHECKING:
    import torch

    from ricenet.config.params import ExplainParams

_NEVER_QUITE = 1e-6
"""From 0 and 1, where log-odds end."""


@dataclass(frozen=True)
class SubjectExplainer:
    """Explains preprocessed subjects, of a cohort or new ones.

    seed: of the untrained weights. synthetic: whether the subjects are made up.
    """

    ensemble: Ensemble
    settings: ExplainParams
    seed: int
    synthetic: bool

    def explain(
        self,
        raw: RawSubject,
        folder: Path,
        label: str,
        variables: Mapping[str, SubjectVariables],
        held: Sequence[int],
        calibrated: Callable[[Sequence[float]], float | None],
        provenance: Mapping[str, str],
        progress: Progress | None = None,
    ) -> Case:
        """Explain a subject by the networks that did not train on it.

        raw: its files; of these the dose alone is read, and the masks that a cohort's maker knows. folder: of
        the preprocessed subject, under its name. label: n/a where not known. variables: of the subject, where
        the networks use any. held: folds of the networks that speak. calibrated: what their p_rice come to.
        provenance: further lines of it.
        Raises ResultError or ScanError: preprocessed volumes are missing or damaged, or a hidden cube is
        larger than what the networks see.
        """
        self.require_cubes_within()
        record, subject = self.ensemble.record, raw.subject
        grid, names = record.grid, [spec.name for spec in self.ensemble.members]
        whole = read_anatomy(folder.parent, raw.cohort, subject, label, raw.volumes, grid.suffix)
        anatomy = whole.within(grid.part)
        image = read_volumes(folder, subject, names, grid).astype(np.float32)
        votes = self._votes(image, variables, held)
        p_rice = [votes[fold].p_rice for fold in held]
        # without what answers beside them, which is too slow for thousands of cubes
        networks = [self.ensemble.of_subject(fold, variables) for fold in held]
        random = [self.ensemble.of_subject(held[0], variables, self._untrained(held[0]))]
        found, compared = (
            self._occlusions(asked, names, image, anatomy, progress) for asked in (networks, random)
        )
        untrained = {name: m.change for name, m in compared.items()}
        summaries = {name: summarise(m, untrained[name], anatomy) for name, m in found.items()}
        explanation = Explanation(
            modality_set=self.ensemble.modality_set,
            participant_id=subject,
            label=label,
            predicted=LABELS[int(majority_vote(np.array([p_rice]))[0])],
            p_rice=float(np.mean(p_rice)),
            interval=interval_of_mean(p_rice),
            calibrated=calibrated(p_rice),
            sees=record.input,
            fused=bool(record.fused),
            votes=votes,
            maps=summaries,
            synthetic=self.synthetic,
            provenance={
                **self._provenance(provenance),
                "against untrained weights": summaries[TOGETHER].untrained.verdict,
            },
        )
        maps = {name: m.change for name, m in found.items()}
        return Case(explanation, anatomy, maps, untrained, structure_doses(raw, folder))

    def _votes(
        self, image: NDArray[np.float32], variables: Mapping[str, SubjectVariables], held: Sequence[int]
    ) -> tuple[FoldVote, ...]:
        answers = self.ensemble.predict(image[None], variables)[0]
        return tuple(
            FoldVote(fold=fold, p_rice=float(p), held_out=fold in held) for fold, p in enumerate(answers)
        )

    def require_cubes_within(self) -> None:
        """Raise ResultError where a hidden cube is larger than what the networks see."""
        grid = self.ensemble.record.grid
        if self.settings.cube_voxels > min(grid.shape):
            raise ResultError(
                f"explain.cube_voxels: {self.settings.cube_voxels} is larger than what the networks of "
                f"{self.ensemble.modality_set} see, {grid}. Take {min(grid.shape)} or less"
            )

    def _occlusions(
        self,
        networks: Sequence[torch.nn.Module],
        names: Sequence[str],
        image: NDArray[np.float32],
        anatomy: Anatomy,
        progress: Progress | None,
    ) -> dict[str, OcclusionMap]:
        hidden = {TOGETHER: list(range(len(names)))}
        # of a single volume both are the same
        if self.settings.each_modality and len(names) > 1:
            hidden |= {name: [channel] for channel, name in enumerate(names)}
        return occlusion_maps(networks, image, anatomy.brain, hidden, self.settings, progress)

    def _untrained(self, fold: int) -> torch.nn.Module:
        """A network like the ensemble's, ready to predict, with random weights that no training started from.

        Batch norm has its initial statistics, so it changes nothing.
        """
        from ricenet.training.networks import initial_network, preferred_device

        record = self.ensemble.record
        # not the seed itself: a trained network still resembles the weights that it started from
        seed = seed_for("occlusion sanity", self.seed)
        columns = record.encoders[fold].columns if record.network.uses_variables else ()
        network = initial_network(
            *(record.network, record.modality_set, fold, seed, len(record.members), len(columns)),
            record.members,
            columns,
        )
        return network.eval().to(preferred_device())

    def _provenance(self, further: Mapping[str, str]) -> dict[str, str]:
        settings, record = self.settings, self.ensemble.record
        return {
            "model": f"{self.ensemble.modality_set}, digest {self.ensemble.digest[:12]}",
            **further,
            "preprocessing": record.preprocessing_digest[:12],
            "cube and stride": f"{settings.cube_voxels} and {settings.stride_voxels} voxels",
            "hidden cubes hold": settings.fill.replace("_", " "),
            "computed in": settings.precision,
        }


def interval_of_mean(p_rice: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of several networks' mean log-odds, as probabilities; None for a single network.

    Student's t over the networks. It says how much the networks differ that another draw of training
    subjects would give, not how often such a subject has RICE.

    >>> low, high = interval_of_mean([0.5, 0.5, 0.5])
    >>> round(low, 3), round(high, 3)
    (0.5, 0.5)
    """
    if len(p_rice) < 2:
        return None
    from scipy import special, stats

    log_odds = special.logit(np.clip(p_rice, _NEVER_QUITE, 1 - _NEVER_QUITE))
    margin = stats.t.ppf(0.975, len(p_rice) - 1) * stats.sem(log_odds)
    low, high = special.expit(log_odds.mean() + np.array([-margin, margin]))
    return float(low), float(high)
