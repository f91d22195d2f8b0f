"""Whether the volumes of a subject lie over one another, on phantom heads with one thing moved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohorts import change_voxels

from ricenet.cohort.coarse_head import CoarseHead
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.placement import dose_findings, head_findings, mask_findings
from ricenet.cohort.raw_record import examine
from ricenet.cohort.scan_fingerprint import pair_digest, voxel_digest
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

GRID = Grid.cube(np.zeros(3), 5.0, 60)
AT_MM = GRID.world_mm(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(float))


def ball(radius_mm: float, x_mm: float = 0.0) -> np.ndarray:
    return np.linalg.norm(AT_MM - [x_mm, 0, 0], axis=-1) < radius_mm


def head(radius_mm: float = 90.0) -> CoarseHead:
    """A bright ball in air."""
    rng = np.random.default_rng(3)
    tissue, air = rng.normal(250, 60, GRID.shape), np.abs(rng.normal(0, 15, GRID.shape))
    return CoarseHead.of(Volume(np.where(ball(radius_mm), tissue, air).astype(np.float32), GRID))


def dose(outline: np.ndarray, high: np.ndarray) -> Volume:
    return Volume(np.where(high, 60.0, 5.0 * outline).astype(np.float32), GRID)


def test_the_distance_from_a_head_is_its_own_and_unknown_beyond_the_scan() -> None:
    x_mm = np.array([0.0, 80.0, 100.0, 120.0, 160.0])
    found = head().distances(np.stack([x_mm, 0 * x_mm, 0 * x_mm], axis=-1))
    np.testing.assert_allclose(found[:4], x_mm[:4] - 90, atol=5)
    assert np.isnan(found[4])
    assert head().ml == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.03)


def test_a_dose_that_fills_the_head_lies_over_it() -> None:
    assert dose_findings(dose(ball(90), ball(25, 40)), head(), "the scan") == []
    # a couch has the same dose in air wherever the head is: 4 % of the outline, and no less elsewhere
    couch = np.all(
        [np.abs(AT_MM[..., 1] + 118) < 3, np.abs(AT_MM[..., 0]) < 100, np.abs(AT_MM[..., 2]) < 60], axis=0
    )
    assert dose_findings(dose(ball(90) | couch, ball(25, 40)), head(), "the scan") == []


@pytest.mark.parametrize(
    ("outline", "high", "words"),
    [
        (ball(90), ball(20, 260), "the dose lies"),
        (ball(90), ball(25, 120), "high dose does not lie in the head of the scan (0% of"),
        # 15 mm to the right
        (ball(90, 15), ball(25, 40), "in air, more than 4 mm outside the head of the scan; "),
        # of a head of twice the volume
        (ball(115), ball(25, 40), "in air, more than 4 mm outside the head of the scan"),
    ],
)
def test_a_dose_elsewhere_is_refused_or_asked_about(
    outline: np.ndarray, high: np.ndarray, words: str
) -> None:
    far = Volume(dose(outline, high).data, GRID)
    if words == "the dose lies":
        far = Volume(dose(outline, ball(25)).data, Grid.cube(np.array([260.0, 0, 0]), 5.0, 60))
    (finding,) = dose_findings(far, head(), "the scan")
    assert words in finding.found
    # an outline that somebody has looked at is not asked about again; the rest is
    confirmed = dose_findings(far, head(), "the scan", confirmed=True)
    assert bool(confirmed) == ("in air" not in words)


def test_a_brain_without_its_skull_has_no_outline_to_compare_a_dose_with() -> None:
    tissue = np.random.default_rng(3).uniform(200, 400, GRID.shape)
    scan = Volume(np.where(ball(70), tissue, 0.0).astype(np.float32), GRID)
    assert CoarseHead.of(scan).stripped
    assert dose_findings(dose(ball(90), ball(25, 40)), CoarseHead.of(scan), "the scan") == []
    assert dose_findings(dose(ball(90), ball(25, 110)), CoarseHead.of(scan), "the scan")


def test_nearly_all_of_a_brain_mask_and_half_of_a_lesion_lie_in_the_head() -> None:
    for x_mm, of_brain, fine in ((0, True, True), (40, True, False), (40, False, True), (140, False, False)):
        found = mask_findings(Volume(ball(75, x_mm), GRID), head(), "the scan", of_brain=of_brain)
        assert (found == []) == fine, (x_mm, of_brain)


@pytest.mark.parametrize(("voxel_mm", "fine"), [(2.5, False), (3.0, True), (7.0, True), (8.0, False)])
def test_a_head_has_a_heads_volume(voxel_mm: float, fine: bool) -> None:
    # a ball of 18 voxels: 382, 660, 8379, 12508 ml
    scaled = replace(head(), grid=Grid.cube(np.zeros(3), voxel_mm, 60))
    assert (head_findings(scaled) == []) == fine


# --- a phantom subject with one thing wrong ---


@pytest.fixture
def raw(phantom_head: Path, tmp_path: Path) -> RawSubject:
    return RawSubject(Path(shutil.copytree(phantom_head, tmp_path / "raw")), "sub-001")


def moved(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    volume = load_nifti(path)
    save_nifti(Volume(volume.data, Grid(volume.grid.shape, change(volume.grid.affine))), path)


def shifted(mm: float) -> Callable[[np.ndarray], np.ndarray]:
    step = np.eye(4)
    step[0, 3] = mm
    return lambda affine: step @ affine


def brain_mask(raw: RawSubject) -> None:
    truth = load_nifti(raw.cohort / "ground_truth/sub-001/brain.nii.gz")
    save_nifti(Volume(truth.data > 0.5, truth.grid), raw.brain_mask)


def mask_elsewhere(raw: RawSubject) -> None:
    brain_mask(raw)
    moved(raw.brain_mask, shifted(40))


def copied_as_integers(raw: RawSubject) -> None:
    """The post-op scan as the event scan: flipped, rounded to whole numbers, under another header."""
    scan = load_nifti(raw.scan("post_op"))
    flipped = np.rint(scan.data[::-1].transpose(1, 0, 2) / 3).astype(np.float32)
    x, y, z = flipped.shape
    save_nifti(Volume(flipped, Grid((x, y, z), scan.grid.affine)), raw.scan("event"))


def another_dose(raw: RawSubject) -> None:
    """What an import noted of another pair."""
    content = json.loads(raw.dose_sidecar.read_text())
    raw.dose_sidecar.write_text(json.dumps(content | {"PlacedOver": pair_digest("scan", "dose")}))


WRONG: dict[str, tuple[Callable[[RawSubject], object], str, str]] = {
    "dose 25 mm away": (lambda raw: moved(raw.scan("dose"), shifted(25)), "dose", "lie in air"),
    "dose 70 mm away": (lambda raw: moved(raw.scan("dose"), shifted(70)), "dose", "not lie in the head"),
    "dose 400 mm away": (lambda raw: moved(raw.scan("dose"), shifted(400)), "dose", "the dose lies"),
    "mirrored dose": (
        lambda raw: change_voxels(raw.scan("dose"), lambda values: values[:, ::-1]),
        "dose",
        "were it mirrored along its axis 2",
    ),
    "dose without geometry": (
        lambda raw: moved(raw.scan("dose"), lambda _: np.eye(4)),
        "dose",
        "its geometry",
    ),
    "dose of another pair": (another_dose, "dose", "not the one that the import placed"),
    "brain mask 40 mm away": (mask_elsewhere, "brain_mask", "of the mask lie in the head"),
    "the post-op scan twice": (copied_as_integers, "event", "has the same voxels as sub-001/ses-postop"),
    "half the size": (
        lambda raw: moved(raw.scan("event"), lambda affine: affine @ np.diag([0.5, 0.5, 0.5, 1])),
        "event",
        "of a head 500 to 10000 ml",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_does_not_fit_together_is_refused_by_its_file(raw: RawSubject, fault: str) -> None:
    spoil, file, words = WRONG[fault]
    spoil(raw)
    path = raw.brain_mask if file == "brain_mask" else raw.scan(file)
    found = [p for p in examine(raw)[1] if p.file == path.relative_to(raw.cohort).as_posix()]
    assert found and words in found[0].found and found[0].subject == "sub-001" and found[0].remedy


def test_what_fits_together_is_accepted_wherever_it_lies(raw: RawSubject) -> None:
    brain_mask(raw)
    content = json.loads(raw.dose_sidecar.read_text())
    digests = (voxel_digest(np.asarray(load_nifti(raw.scan(name)).data)) for name in ("post_op", "dose"))
    raw.dose_sidecar.write_text(json.dumps(content | {"PlacedOver": pair_digest(*digests)}))
    assert examine(raw)[1] == ()
    turn = np.array([[0, -1.0, 0, 60], [1, 0, 0, -90], [0, 0, 1, 250], [0, 0, 0, 1]])
    for path in (raw.scan("post_op"), raw.scan("dose"), raw.brain_mask):
        moved(path, lambda affine: turn @ affine)
    assert examine(raw)[1] == ()


def test_a_look_at_the_dose_settles_what_its_outline_asks(raw: RawSubject) -> None:
    moved(raw.scan("dose"), shifted(25))
    (problem,) = examine(raw)[1]
    assert '"PlacementConfirmed": true' in problem.remedy
    content = json.loads(raw.dose_sidecar.read_text())
    raw.dose_sidecar.write_text(json.dumps(content | {"PlacementConfirmed": True}))
    assert examine(raw)[1] == ()
