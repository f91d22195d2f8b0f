"""A map in numbers: where it lies, and whether it differs from an untrained network's."""

import numpy as np
import pytest

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.map_summary import (
    DIFFERS_BELOW,
    ISODOSE_BANDS,
    OUTSIDE_BRAIN,
    centre_of_mass,
    compare_with_untrained,
    summarise,
)
from ricenet.evaluation.occlusion.sensitivity import OcclusionMap
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid

SHAPE = (4, 4, 4)
SPACING_MM = 5.0


def anatomy(dose_gy=None, brain=None, known_masks=None, with_dose=True):
    """Four voxels of 5 mm a side; the brain is everything unless said otherwise."""
    mri = np.zeros(SHAPE, np.float32)
    images = {"post_op": mri, "event": mri, "dose": mri if dose_gy is None else dose_gy}
    if not with_dose:
        del images["dose"]
    brain = np.ones(SHAPE, bool) if brain is None else brain
    grid = Grid.cube(np.array([10.0, -20.0, 30.0]), SPACING_MM, 4)
    return Anatomy("sub-1", "rice", PAPER_VOLUMES, images, brain, grid, known_masks or {})


def at(*voxels, values=1.0):
    data = np.zeros(SHAPE, np.float32)
    for voxel, value in zip(voxels, np.broadcast_to(values, len(voxels)), strict=True):
        data[voxel] = value
    return data


def summary(change, of_anatomy):
    return summarise(OcclusionMap(change, 0.5, 7, 8), np.ones(SHAPE, np.float32), of_anatomy)


def by_name(shares):
    return {s.name: (s.of_map, s.of_volume) for s in shares}


def test_shares_by_isodose_band_by_hand():
    # 64 voxels: 16 of each of four doses, one along each plane of x
    dose = np.repeat([5.0, 30.0, 55.0, 70.0], 16).reshape(SHAPE).astype(np.float32)
    change = at((0, 0, 0), (1, 0, 0), (3, 0, 0), (3, 1, 0), values=[0.1, -0.2, 0.4, -0.3])
    found = summary(change, anatomy(dose))
    assert by_name(found.isodoses) == {
        "0-20 Gy": pytest.approx((0.1, 0.25)),
        "20-40 Gy": pytest.approx((0.2, 0.25)),
        "40-50 Gy": (0, 0),
        "50-60 Gy": pytest.approx((0.0, 0.25)),
        "above 60 Gy": pytest.approx((0.7, 0.25)),  # the signs do not cancel
        OUTSIDE_BRAIN: (0, 0),
    }
    assert (found.min, found.max) == pytest.approx((-0.3, 0.4))
    assert (found.cubes, found.of_cubes) == (7, 8)


@pytest.mark.parametrize(
    ("dose_gy", "band"),
    [(0, "0-20 Gy"), (19.9, "0-20 Gy"), (20, "20-40 Gy"), (40, "40-50 Gy"), (50, "50-60 Gy"),
     (59.9, "50-60 Gy"), (60, "above 60 Gy"), (120, "above 60 Gy")],
)  # fmt: skip
def test_a_dose_on_an_edge_belongs_to_the_band_above(dose_gy, band):
    found = by_name(summary(at((1, 1, 1)), anatomy(np.full(SHAPE, dose_gy, np.float32))).isodoses)
    assert [name for name in ISODOSE_BANDS if found[name] == (1, 1)] == [band]


def test_bands_are_of_the_brain_and_what_is_outside_is_of_the_whole_volume():
    brain = np.zeros(SHAPE, bool)
    brain[:2] = True
    dose = np.zeros(SHAPE, np.float32)
    dose[:, :, 0] = 65  # a quarter of the brain, and of everything
    change = at((0, 0, 0), (1, 1, 1), (3, 3, 3), values=[0.3, 0.1, 0.6])
    found = by_name(summary(change, anatomy(dose, brain)).isodoses)
    assert found["above 60 Gy"] == pytest.approx((0.75, 0.25))
    assert found["0-20 Gy"] == pytest.approx((0.25, 0.75))
    assert found[OUTSIDE_BRAIN] == pytest.approx((0.6, 0.5))


def test_an_even_map_has_its_share_of_volume_everywhere():
    rng = np.random.default_rng(0)
    brain = rng.uniform(size=SHAPE) < 0.7
    lesion = rng.uniform(size=SHAPE).astype(np.float32)
    dose = rng.uniform(0, 80, SHAPE).astype(np.float32)
    found = summary(np.full(SHAPE, -0.02, np.float32), anatomy(dose, brain, {"lesion": lesion}))
    for part in [*found.isodoses, *found.regions]:
        assert part.of_map == pytest.approx(part.of_volume)
    assert sum(part.of_volume for part in found.isodoses[:-1]) == pytest.approx(1)


def test_a_region_counts_voxels_by_how_far_they_belong_to_it():
    cavity = at((0, 0, 0), (0, 0, 1), values=[1.0, 0.25])
    change = at((0, 0, 0), (0, 0, 1), (2, 2, 2), values=[0.2, 0.4, 0.4])
    found = summary(change, anatomy(known_masks={"cavity": cavity, "lesion": at((2, 2, 2))}))
    assert by_name(found.regions)["cavity"] == pytest.approx((0.2 + 0.1, 1.25 / 64))
    assert by_name(found.regions)["lesion"] == pytest.approx((0.4, 1 / 64))


def test_distances_are_from_the_absolute_maps_centre_of_mass():
    # the masses at x 0 and 3 weigh 1 and 2: the centre lies at x 2, 2 voxels from the isocentre in z
    change = at((0, 1, 1), (3, 1, 1), values=[-0.1, 0.2])
    dose = at((2, 1, 3), values=60)
    lesion = at((2, 1, 0), (2, 1, 2))
    found = summary(change, anatomy(dose, known_masks={"lesion": lesion}))
    assert found.to_isocentre_mm == pytest.approx(2 * SPACING_MM)
    assert found.to_lesion_mm == pytest.approx(0, abs=1e-6)  # its two voxels' middle


@pytest.mark.parametrize("with_dose", [True, False])
def test_without_dose_or_lesion_there_is_no_distance(with_dose):
    found = summary(at((0, 0, 0)), anatomy(known_masks={"lesion": at()}, with_dose=with_dose))
    assert (found.to_isocentre_mm, found.to_lesion_mm) == (None, None)
    assert bool(found.isodoses) is with_dose


def test_a_map_that_is_0_lies_nowhere():
    dose = np.full(SHAPE, 60, np.float32)
    found = summary(at(), anatomy(dose, known_masks={"lesion": at((1, 1, 1))}))
    assert {part.of_map for part in [*found.isodoses, *found.regions]} == {0}
    assert found.isodoses[4].of_volume == 1
    assert (found.to_isocentre_mm, found.to_lesion_mm) == (None, None)


def test_centre_of_mass_by_hand():
    assert centre_of_mass(at((0, 1, 2), (3, 1, 2), values=[1, 2])).tolist() == [2, 1, 2]


BRAIN = np.zeros((2, 2, 2), bool)
BRAIN[0] = True
"""Four voxels of eight."""


def in_brain(values, elsewhere=0.0):
    data = np.full(BRAIN.shape, elsewhere, np.float32)
    data[BRAIN] = values
    return data


@pytest.mark.parametrize(
    ("trained", "untrained", "correlation", "verdict"),
    [
        # ranks 1 2 3 4 and 2 1 4 3: rho = 1 - 6 (1 + 1 + 1 + 1) / (4 (16 - 1)) = 0.6
        ([0.1, 0.2, 0.3, 0.4], [5, 1, 90, 7], 0.6,
         "resembles the map of an untrained network: it may show the input, not what was learned "
         "(rank correlation 0.60, limit 0.5)"),
        # signs and what lies outside the brain do not count
        ([0.1, -0.2, 0.3, -0.4], [-4, 3, -2, 1], -1,
         "differs from the map of an untrained network (rank correlation -1.00, limit 0.5)"),
        ([0.1, 0.2, 0.3, 0.4], [3, -3, 3, -3], None, "the untrained network is the same everywhere"),
        ([0, 0, 0, 0], [1, 2, 3, 4], None, "cannot be said: the map of the trained network is the same"),
        ([0, 0, 0, 0], [2, 2, 2, 2], None, "the trained network and of the untrained network is the same"),
    ],
)  # fmt: skip
def test_comparison_with_an_untrained_network_by_hand(trained, untrained, correlation, verdict):
    found = compare_with_untrained(in_brain(trained, elsewhere=9), in_brain(untrained, elsewhere=4), BRAIN)
    assert found.rank_correlation == (None if correlation is None else pytest.approx(correlation))
    assert verdict in found.verdict


def test_unrelated_maps_differ_and_the_same_map_resembles_itself():
    rng = np.random.default_rng(0)
    brain = np.ones((12, 12, 12), bool)
    a, b = rng.normal(size=(2, 12, 12, 12)).astype(np.float32)
    assert abs(compare_with_untrained(a, b, brain).rank_correlation) < 0.1 < DIFFERS_BELOW
    assert compare_with_untrained(a, -3 * a, brain).rank_correlation == pytest.approx(1)
