"""One subject's prediction explained: occlusion maps, what lies where in them, and what the networks vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.cohort.description import is_synthetic
from ricenet.cohort.splits import Splits, read_splits
from ricenet.evaluation.anatomy_figure import Anatomy, read_anatomy
from ricenet.evaluation.occlusion.case import TOGETHER, Case
from ricenet.evaluation.occlusion.sanity import SanityCheck, untrained_network, weights_sanity
from ricenet.evaluation.occlusion.sensitivity import (
    OcclusionMap,
    OcclusionSettings,
    Progress,
    occlusion_maps,
)
from ricenet.evaluation.occlusion.summary import summarise
from ricenet.evaluation.occlusion.votes import decided, fold_votes, interval_of_mean
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import ResultError
from ricenet.training.ensemble import Ensemble
from ricenet.vocabulary import PAPER_VOLUMES, members

if TYPE_CHECKING:
    import torch

    from ricenet.config.params import Params


@dataclass(frozen=True)
class Explained:
    """A case with what its page does not need, by map: its cost, and how like an untrained one it is."""

    case: Case
    occlusions: Mapping[str, OcclusionMap]
    untrained: Mapping[str, NDArray[np.float32]]
    sanity: Mapping[str, SanityCheck]


@dataclass(frozen=True)
class Explainer:
    """Explains subjects by the networks of one modality set.

    preprocessed: the folder with a folder a subject. cohort: the raw cohort, for masks that only a synthetic
    one knows. each_modality: whether to hide every modality alone too. seed: of the untrained weights.
    """

    ensemble: Ensemble
    splits: Splits
    preprocessed: Path
    cohort: Path
    settings: OcclusionSettings
    each_modality: bool
    seed: int

    @classmethod
    def open(cls, project: Path, modality_set: str, params: Params) -> Self:
        """The ensemble, splits and volumes of a project folder.

        Raises RegistryError, SplitError or ResultError: files are missing or do not belong together.
        """
        return cls(
            Ensemble.load(project / "models" / "ensembles" / modality_set),
            read_splits(project / "work" / "splits" / "splits.json"),
            project / "work" / "preprocessed",
            project / params.cohort.root,
            OcclusionSettings.of(params.explain),
            params.explain.each_modality,
            params.seed,
        )

    @cached_property
    def synthetic(self) -> bool:
        """Whether the cohort is made up."""
        return is_synthetic(self.cohort)

    def __post_init__(self) -> None:
        """Raise ResultError where the ensemble was trained with other splits: held out would be a guess."""
        trained_with = self.ensemble.record.splits_digest
        if trained_with != self.splits.digest:
            raise ResultError(
                f"ensemble {self.ensemble.modality_set}: trained with splits {trained_with[:12]}, but "
                f"splits.json is {self.splits.digest[:12]}; it may have been trained on a subject to "
                "explain. Run `dvc repro train`"
            )

    def explain(self, subject: str, progress: Progress | None = None) -> Explained:
        """Explain a subject by the networks that did not train on it.

        Raises ResultError or ScanError: preprocessed volumes are missing or damaged.
        """
        label = self.splits.labels.get(subject, "n/a")
        anatomy = read_anatomy(self.preprocessed, self.cohort, subject, label, PAPER_VOLUMES)
        modality_set = self.ensemble.modality_set
        names, voxels = members(modality_set), anatomy.grid.shape[0]
        volumes = read_volumes(self.preprocessed / subject, subject, names, voxels).astype(np.float32)
        votes = fold_votes(self.ensemble, self.splits, subject, volumes)
        speaking = [vote.p_rice for vote in votes if vote.held_out]
        held_out = [vote.fold for vote in votes if vote.held_out]
        networks = [self.ensemble.networks[fold] for fold in held_out]
        random = [untrained_network(self.ensemble.record, held_out[0], self.seed)]
        occlusions = self._occlusions(networks, volumes, anatomy, progress)
        maps = {name: found.change for name, found in occlusions.items()}
        untrained = {n: m.change for n, m in self._occlusions(random, volumes, anatomy, progress).items()}
        sanity = {name: weights_sanity(maps[name], untrained[name], anatomy.brain) for name in maps}
        case = Case(
            anatomy=anatomy,
            modality_set=modality_set,
            predicted=decided(votes),
            p_rice=float(np.mean(speaking)),
            interval=interval_of_mean(speaking),
            votes=votes,
            maps=maps,
            summaries={name: summarise(change, anatomy) for name, change in maps.items()},
            synthetic=self.synthetic,
            provenance=self._provenance(sanity[TOGETHER]),
        )
        return Explained(case, occlusions, untrained, sanity)

    def _occlusions(
        self,
        networks: Sequence[torch.nn.Module],
        volumes: NDArray[np.float32],
        anatomy: Anatomy,
        progress: Progress | None,
    ) -> dict[str, OcclusionMap]:
        modalities = members(self.ensemble.modality_set)
        hidden = {TOGETHER: list(range(len(modalities)))}
        # of a single modality both are the same
        if self.each_modality and len(modalities) > 1:
            hidden |= {modality: [channel] for channel, modality in enumerate(modalities)}
        return occlusion_maps(networks, volumes, anatomy.brain, hidden, self.settings, progress)

    def _provenance(self, sanity: SanityCheck) -> dict[str, str]:
        settings, record = self.settings, self.ensemble.record
        return {
            "model": f"{self.ensemble.modality_set}, digest {self.ensemble.digest[:12]}",
            "splits": self.splits.digest[:12],
            "preprocessing": record.preprocessing_digest[:12],
            "cube and stride": f"{settings.cube_voxels} and {settings.stride_voxels} voxels",
            "hidden cubes hold": settings.fill.replace("_", " "),
            "computed in": settings.precision,
            "against untrained weights": sanity.verdict,
        }


def summary_of(explained: Explained) -> dict[str, Any]:
    """What summary.json says: numbers only."""
    case = explained.case
    folds = [vote.fold for vote in case.votes if vote.held_out]
    change = case.maps[TOGETHER]
    return {
        "modality_set": case.modality_set,
        "participant_id": case.anatomy.subject,
        "label": case.anatomy.label,
        "predicted": case.predicted,
        "fold": folds[0] if len(folds) == 1 else None,
        "p_rice": case.p_rice,
        "interval": case.interval,
        "votes": [asdict(vote) for vote in case.votes],
        "baseline": explained.occlusions[TOGETHER].baseline_p_rice,
        "min": float(change.min()),
        "max": float(change.max()),
        "maps": {
            name: {
                "min": float(found.change.min()),
                "max": float(found.change.max()),
                "cubes": found.cubes,
                "of_cubes": found.of_cubes,
                "untrained": asdict(explained.sanity[name]),
                **asdict(case.summaries[name]),
            }
            for name, found in explained.occlusions.items()
        },
    }
