"""What dose and lesion tell together: products of a dose's intensities and of how solid an MRI enhances.

A solid nodule stays bright when every bright part smaller than a ball is taken away, a thin ring does not. So
an MRI is opened by balls of several radii (granulometry), and each remaining brightness is multiplied with
each intensity of the dose. A regression on these products can weigh the dose by the kind of lesion, which one
on either volume, or on both side by side, cannot.
Source: Matheron 1975, Serra 1982 (granulometry by openings of grey values).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.records import Record
from ricenet.training.group_regression import FeatureGroup
from ricenet.training.random_convolutions import coarse

if TYPE_CHECKING:
    from ricenet.vocabulary import VolumeSpec

Floats = NDArray[np.float64]

RADII_VOXELS = (1.0, 1.5, 2.0, 3.0)
"""Of the balls; in a crop of 4 mm 4, 6, 8 and 12 mm. Chosen on phantoms, as the rest here."""

BRIGHTEST_VOXELS = 8
"""Whose mean is the brightness that remains: a single voxel is noise."""

SOLID, INTENSITIES = "solid", "intensities"
"""Names of groups, after that of their volume."""


def multiplied_dose(members: Sequence[VolumeSpec]) -> str | None:
    """The name of the dose of a set that holds an MRI too; else there is nothing to multiply."""
    doses = [spec.name for spec in members if spec.kind == "dose"]
    return doses[0] if doses and len(members) > len(doses) else None


def solid_features(volumes: NDArray[np.floating], members: Sequence[VolumeSpec]) -> tuple[FeatureGroup, ...]:
    """A group for each MRI: its brightness once it is opened by each ball, (N, len(RADII_VOXELS)).

    volumes: (N, C, X, Y, Z) as a network sees them. members: the volumes (C,). Nothing where there is no
    `multiplied_dose`.
    """
    if multiplied_dose(members) is None:
        return ()
    features = tuple(f"opened{radius:g}" for radius in RADII_VOXELS)
    return tuple(
        FeatureGroup(
            f"{spec.name} {SOLID}",
            tuple(f"{spec.name}_{feature}" for feature in features),
            np.stack([_opened(volume) for volume in coarse(volumes[:, channel])]),
        )
        for channel, spec in enumerate(members)
        if spec.kind != "dose"
    )


class DoseProducts(Record):
    """Which features are multiplied, once they are standardised.

    mean, sd: of the training subjects, by the name of each group that takes part: the dose's and each MRI's.
    """

    mean: dict[str, tuple[float, ...]]
    sd: dict[str, tuple[float, ...]]

    @classmethod
    def fitted(cls, groups: Sequence[FeatureGroup], dose: str) -> Self:
        """To the groups of training subjects. dose: the name of the volume."""
        factors = [g for g in groups if g.name == f"{dose} {INTENSITIES}" or g.name.endswith(f" {SOLID}")]
        return cls(
            mean={g.name: tuple(g.values.mean(axis=0).tolist()) for g in factors},
            sd={g.name: tuple(_sd(g.values).tolist()) for g in factors},
        )

    def of(self, groups: Sequence[FeatureGroup]) -> tuple[FeatureGroup, ...]:
        """A group of products for each MRI, (N, len(RADII_VOXELS) * intensities of the dose).

        Raises ValueError: groups that it was not fitted to.
        """
        given = {group.name: group for group in groups}
        if missing := self.mean.keys() - given.keys():
            raise ValueError(f"expected the groups {sorted(missing)} among {sorted(given)}")
        dose, *mris = sorted(self.mean, key=lambda name: name.endswith(f" {SOLID}"))
        return tuple(self._product(given[mri], given[dose]) for mri in mris)

    def _product(self, mri: FeatureGroup, dose: FeatureGroup) -> FeatureGroup:
        values = self._standardised(mri)[:, :, None] * self._standardised(dose)[:, None, :]
        names = tuple(f"{a} x {b}" for a in mri.features for b in dose.features)
        return FeatureGroup(f"{mri.name} x {dose.name}", names, values.reshape(len(values), -1))

    def _standardised(self, group: FeatureGroup) -> Floats:
        values: Floats = (group.values - np.array(self.mean[group.name])) / np.array(self.sd[group.name])
        return values


def _opened(volume: NDArray[np.float32]) -> Floats:
    """(X, Y, Z) -> (len(RADII_VOXELS),)."""
    from scipy import ndimage

    opened = (ndimage.grey_opening(volume, footprint=_ball(r), mode="nearest") for r in RADII_VOXELS)
    return np.array([np.sort(values, axis=None)[-BRIGHTEST_VOXELS:].mean() for values in opened], np.float64)


def _ball(radius: float) -> NDArray[np.bool_]:
    reach = np.arange(-int(radius), int(radius) + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"))
    ball: NDArray[np.bool_] = (offsets**2).sum(axis=0) <= radius**2
    return ball


def _sd(values: Floats) -> Floats:
    """1 where a feature does not vary: its products are then 0 for all training subjects."""
    sd = values.std(axis=0)
    return np.where(sd > 1e-12, sd, 1.0)
