"""Maps against the phantom's cause, on a head of 1000 voxels."""

import json

import numpy as np
import pytest
from explained_cases import case, settings

from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.occlusion.causal_regions import (
    CAVITY,
    EVERY_CAUSE,
    HIGH_DOSE,
    LESION,
    WALL,
    causal_regions,
    cause_of,
)
from ricenet.evaluation.occlusion.explained_case import TOGETHER
from ricenet.evaluation.occlusion.hidden_cubes import CubeGrid
from ricenet.evaluation.occlusion.truth import (
    cohort_truth,
    geometric_mean,
    subject_truth,
    truth_markdown,
    verdict,
)
from ricenet.phantom.mechanism import MECHANISMS
from ricenet.runtime.errors import ResultError
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid

HEIGHT = MECHANISMS["dose_height"]
VOXELS, SPACING_MM = 12, 6.0
SHAPE = (VOXELS,) * 3


def block(*ranges, value=1.0):
    data = np.zeros(SHAPE, np.float32)
    data[tuple(slice(low, high) for low, high in ranges)] = value
    return data


CAVITY_MASK = block((3, 5), (3, 5), (3, 5))
LESION_MASK = block((5, 7), (3, 5), (3, 5))
BRAIN = block((1, 11), (1, 11), (1, 11)) > 0
"""1000 voxels."""


def anatomy(subject="sub-001", dose_gy=None, known_masks=None):
    mri = np.zeros(SHAPE, np.float32)
    if dose_gy is None:
        dose_gy = block((2, 8), (2, 7), (2, 7), value=70) + 10  # 150 voxels of 80 Gy, 10 Gy elsewhere
    if known_masks is None:
        known_masks = {"cavity": CAVITY_MASK, "lesion": LESION_MASK}
    images = {"post_op": mri, "event": mri, "dose": dose_gy}
    grid = Grid.cube(np.zeros(3), SPACING_MM, VOXELS)
    return Anatomy(subject, "rice", PAPER_VOLUMES, images, BRAIN, grid, known_masks)


EVEN = np.ones(SHAPE, np.float32)


def truth_of(change, untrained=EVEN, modality_set="post_op+event+dose", cube=3, stride=1, **of_anatomy):
    """What is found of one map of hiding all volumes at once, by region."""
    shown = case(anatomy(**of_anatomy), {TOGETHER: change}, modality_set=modality_set)
    shown.untrained[TOGETHER] = untrained
    return {row.region: row for row in subject_truth(shown, settings(cube, stride), HEIGHT)}


def test_high_dose_region_is_the_80_percent_isodose_in_the_brain():
    high = causal_regions(anatomy(), "dose", HEIGHT)[HIGH_DOSE]
    assert high.sum() == 150
    assert high[2:8, 2:7, 2:7].all()
    graded = np.linspace(0, 100, VOXELS, dtype=np.float32)[:, None, None] * np.ones(SHAPE, np.float32)
    high = causal_regions(anatomy(dose_gy=graded), "dose", HEIGHT)[HIGH_DOSE]
    # the brain's planes of x run from 9.1 to 90.9 Gy, the plateau; its 80 % is 72.7 Gy, the plane of x = 8
    assert [x for x in range(VOXELS) if high[x].any()] == [8, 9, 10]
    assert not high[~BRAIN].any()


def test_without_dose_there_is_no_high_dose_region():
    assert not causal_regions(anatomy(dose_gy=np.zeros(SHAPE, np.float32)), "dose", HEIGHT)[HIGH_DOSE].any()


def test_the_wall_is_9_mm_around_the_cavity():
    wall = causal_regions(anatomy(), "post_op", HEIGHT)[WALL]
    assert wall[CAVITY_MASK > 0].all()
    # a neighbour's middle lies 3 mm beyond the surface, the next one's 9 mm, the one after it 15 mm
    assert wall[5, 3, 3] == wall[6, 3, 3] == 1
    assert wall[7, 3, 3] == 0
    assert wall[6, 6, 3] == 0  # diagonally 14 mm


def test_a_cavity_that_fills_no_voxel_has_no_wall():
    thin = {"cavity": 0.2 * CAVITY_MASK, "lesion": LESION_MASK}
    found = causal_regions(anatomy(known_masks=thin), "post_op", HEIGHT)
    np.testing.assert_array_equal(found[WALL], found[CAVITY])


def test_every_cause_is_the_union_over_the_modalities_of_the_set():
    found = causal_regions(anatomy(), "post_op+event", HEIGHT)
    np.testing.assert_array_equal(found[EVERY_CAUSE], np.maximum(found[WALL], found[LESION]))
    assert EVERY_CAUSE not in causal_regions(anatomy(), "event", HEIGHT)


@pytest.mark.parametrize(
    ("map_name", "modality_set", "cause"),
    [("post_op", "post_op+event", WALL), ("event", "post_op+event", LESION),
     ("dose", "event+dose", HIGH_DOSE), (TOGETHER, "event+dose", EVERY_CAUSE),
     (TOGETHER, "event", LESION), (TOGETHER, "post_op", WALL)],
)  # fmt: skip
def test_each_map_has_the_region_of_its_modalitys_evidence(map_name, modality_set, cause):
    assert cause_of(map_name, modality_set, PAPER_VOLUMES, HEIGHT) == cause


@pytest.mark.parametrize("missing", ["cavity", "lesion"])
def test_a_cohort_without_masks_is_refused(missing):
    known = {k: v for k, v in {"cavity": CAVITY_MASK, "lesion": LESION_MASK}.items() if k != missing}
    with pytest.raises(
        ResultError, match=rf"sub-001: no mask of the {missing} in the cohort's ground_truth, expected cavity"
    ):
        truth_of(EVEN, known_masks=known)


def test_enrichment_by_hand():
    # the lesion is 8 of 1000 voxels and holds 8 x 0.3 of 8 x 0.3 + 8 x 0.95 in the brain
    change = 0.3 * LESION_MASK
    change[9, 9, 1:9] = -0.95
    change[0] = 5  # outside the brain
    found = truth_of(change)[LESION]
    assert found.of_map == pytest.approx(0.24)
    assert found.of_volume == pytest.approx(0.008)
    assert found.enrichment == pytest.approx(30)
    assert found.untrained == pytest.approx(1)


def test_an_even_map_is_enriched_nowhere():
    found = truth_of(EVEN)
    assert {name: region.enrichment for name, region in found.items()} == pytest.approx(
        dict.fromkeys(found, 1)
    )


def test_a_map_that_is_0_has_no_enrichment():
    nothing = 0 * EVEN
    assert (truth_of(nothing)[LESION].enrichment, truth_of(nothing)[LESION].untrained) == (None, 1)
    assert truth_of(EVEN, untrained=nothing)[LESION].untrained is None


def test_a_region_outside_the_brain_is_excluded():
    known = {"cavity": CAVITY_MASK, "lesion": block((0, 1), (0, 1), (0, 1))}
    assert LESION not in truth_of(EVEN, known_masks=known)


@pytest.mark.parametrize(("cube", "stride"), [(3, 1), (4, 3), (6, 3), (5, 5)])
def test_looking_there_only_is_the_map_of_a_network_that_counts_hidden_voxels_of_the_region(cube, stride):
    grid = CubeGrid(SHAPE, cube, stride)
    everywhere = np.ones(grid.counts, bool)
    hidden = np.zeros(grid.counts)
    for position, (x, y, z) in zip(np.ndindex(*grid.counts), grid.corners(everywhere), strict=True):
        hidden[position] = LESION_MASK[x : x + cube, y : y + cube, z : z + cube].sum()
    change = grid.mean_of_cubes(hidden, everywhere).astype(np.float32)
    found = truth_of(change, cube=cube, stride=stride)[LESION]
    assert found.enrichment == pytest.approx(found.looking_there_only, rel=1e-5)
    assert found.looking_there_only < 125  # the volume's inverse, had the map no blur


def subjects(factors, untrained=1.0, modality_set="event"):
    """A subject a factor: the lesion's voxels so much stronger than the rest of the brain on average."""

    def enriched(factor):
        return np.where(LESION_MASK > 0, factor, (1000 - 8 * factor) / 992).astype(np.float32)

    return [
        row
        for n, factor in enumerate(factors, 1)
        for row in truth_of(
            enriched(factor), enriched(untrained), modality_set, subject=f"sub-{n:03d}"
        ).values()
    ]


def cohort(rows, modality_set="event"):
    return cohort_truth(rows, modality_set, PAPER_VOLUMES, HEIGHT, seed=7)


def test_cohort_averages_factors_geometrically_with_an_interval():
    found = cohort(subjects([2, 8], untrained=2))
    lesion = found["maps"][TOGETHER]["regions"][LESION]
    assert lesion["enrichment"] == pytest.approx({"mean": 4, "low": 2, "high": 8, "n": 2}, rel=1e-5)
    assert lesion["untrained"]["mean"] == pytest.approx(2, rel=1e-5)
    assert lesion["over_untrained"]["mean"] == pytest.approx(2, rel=1e-5)
    assert lesion["of_map"] == pytest.approx(5 * 0.008, rel=1e-5)
    assert found["by_subject"]["sub-002"][TOGETHER][LESION] == pytest.approx(8, rel=1e-5)
    assert (found["modality_set"], found["subjects"]) == ("event", 2)
    assert found["maps"][TOGETHER]["cause"] == LESION


def test_geometric_mean_by_hand():
    assert geometric_mean([4.0, None, 0.25], seed=0) == pytest.approx(
        {"mean": 1, "low": 0.25, "high": 4, "n": 2}  # twice twice as much, and half of a half
    )
    assert geometric_mean([3.0], seed=0) == pytest.approx({"mean": 3, "low": None, "high": None, "n": 1})
    assert geometric_mean([None], seed=0) is None
    # a 0 counts as a hundredth
    assert geometric_mean([0.0, 100.0], seed=0)["mean"] == pytest.approx(1)


def test_cohort_result_is_json_and_repeats():
    found = cohort(subjects([2, 3, 4]))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert cohort(subjects([2, 3, 4])) == found


@pytest.mark.parametrize(
    ("factors", "untrained", "said"),
    [([4, 5, 6, 5], 1.0, "points at the cause, and more so than"),
     ([4, 5, 6, 5], 5.0, "but not surely more than an untrained"),
     ([0.5, 1, 2, 1], 1.0, "does not point at the cause"),
     ([5], 1.0, "cannot be said")],
)  # fmt: skip
def test_verdict_goes_by_the_intervals(factors, untrained, said):
    assert said in cohort(subjects(factors, untrained))["maps"][TOGETHER]["verdict"]


def test_verdict_without_untrained_maps():
    found = {"enrichment": {"mean": 3, "low": 2, "high": 4, "n": 9}, "over_untrained": None}
    assert "was not compared" in verdict(found)


def test_verdict_of_a_cohort_that_lacks_the_cause():
    known = {"cavity": CAVITY_MASK, "lesion": 0 * LESION_MASK}
    found = cohort([*truth_of(EVEN, modality_set="event", known_masks=known).values()] * 2)
    assert found["maps"][TOGETHER]["verdict"] == "cannot be said: no subject has the cause"


def test_subjects_whose_map_is_0_are_excluded_from_its_mean():
    found = cohort([*subjects([2, 8]), *truth_of(0 * EVEN, modality_set="event").values()])
    assert found["maps"][TOGETHER]["regions"][LESION]["enrichment"]["n"] == 2


def test_table_has_a_line_a_region_and_marks_the_maps_own_cause():
    text = truth_markdown(cohort(subjects([2, 8], untrained=2)))
    assert "event, 2 synthetic subjects:" in text
    assert (
        "| together | **lesion** | 4.0% | 0.8% | 4.00 (2.00 to 8.00) | 2.00 | 2.00 (1.00 to 4.00) |" in text
    )
    assert "| together | high-dose region |" in text
    assert "- together: " in text
    nothing = truth_markdown(cohort(list(truth_of(0 * EVEN, 0 * EVEN, "dose").values()), "dose"))
    assert "| together | **high-dose region** | 0.0% | 15.0% | n/a | n/a | n/a |" in nothing
