"""Rigid registration by ANTs against transforms that are known, its rough start, and its failures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from moved_heads import after_surgery, at_event, displaced, errors_mm, head, placed, with_header_turned
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ricenet.cohort.coarse_head import averaged, head_mask
from ricenet.cohort.layout import RawSubject
from ricenet.phantom.acquisition import ORIENTATIONS
from ricenet.preprocessing.registration import rigid_registration, rough_alignment
from ricenet.preprocessing.registration.rigid_registration import RigidResult, register_rigid
from ricenet.preprocessing.registration.rough_alignment import align
from ricenet.runtime.files import read_json
from ricenet.volume import Affine, Grid, Volume, load_nifti, rotation_deg

TRUE = displaced((8, -5, 6), (10, -8, 5))
STILL = displaced((0, 0, 0), (0, 0, 0))
ROUGH_MM = 5.0
"""ANTs finds the way from further off."""


def registered(fixed: Volume, moving: Volume, metric: str = "mattes", **settings: object) -> RigidResult:
    return register_rigid(fixed, moving, metric, 3, **settings)  # type: ignore[arg-type]


def lower_part(volume: Volume, first: int, count: int) -> Volume:
    """Some slices of a volume."""
    start = np.eye(4)
    start[2, 3] = first
    grid = Grid((*volume.grid.shape[:2], count), volume.grid.affine @ start)
    return Volume(volume.data[:, :, first : first + count], grid)


def brain_errors_mm(found: Affine, truth: Affine, cohort: Path) -> np.ndarray:
    """Target registration errors over the true brain."""
    brain = load_nifti(cohort / "ground_truth" / "sub-001" / "brain.nii.gz")
    points = brain.grid.world_mm(np.argwhere(brain.data > 0).astype(np.float64))
    difference = found - truth
    return np.asarray(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1))


# the rough start


@pytest.mark.parametrize(
    "true", [displaced((25, 10, -15), (25, -25, 20)), displaced((5, 0, 5), (700, -600, 400))]
)
def test_tilted_heads_and_heads_a_metre_apart_need_no_search(true: Affine) -> None:
    start = align(head(), placed(head(), true, tilt_deg=(5, -8, 3)))
    assert not start.searched
    assert errors_mm(start.moving_from_fixed, true).max() < ROUGH_MM


@pytest.mark.parametrize(("axis", "degrees"), [("x", 180), ("y", 180), ("z", -90)])
def test_a_header_that_turns_the_head_is_found_out(axis: str, degrees: float) -> None:
    true = np.eye(4)
    true[:3, :3] = turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    little = displaced((6, -4, 5), (8, 5, -8))
    start = align(head(), with_header_turned(placed(head(), little), turn))
    assert start.searched
    assert errors_mm(start.moving_from_fixed, true @ little).max() < ROUGH_MM


def test_an_arbitrary_turn_is_found_the_same_to_the_last_bit() -> None:
    true = displaced((120, 40, -75), (0, 0, 0))
    moving = placed(head(), true)
    start, again = align(head(), moving), align(head(), moving)
    assert start.searched
    assert errors_mm(start.moving_from_fixed, true).max() < ROUGH_MM
    np.testing.assert_array_equal(start.moving_from_fixed, again.moving_from_fixed)


def test_nothing_is_ever_mirrored() -> None:
    # nor noticed: its similarity lies between that of other objects and of its own
    mirrored = with_header_turned(placed(head(), np.eye(4)), np.diag([-1.0, 1.0, 1.0]))
    found = align(head(), mirrored).moving_from_fixed[:3, :3]
    assert np.linalg.det(found) == pytest.approx(1.0)
    assert all(np.linalg.det(turn) == pytest.approx(1.0) for turn in rough_alignment._turns())


def test_the_turns_leave_no_rotation_further_than_half_a_step_and_some() -> None:
    turns = np.array(rough_alignment._turns())
    anywhere = Rotation.random(300, random_state=1).as_matrix()
    traces = np.einsum("nij,mij->nm", anywhere, turns).max(axis=1)
    assert np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1))).max() < 32


# what is found


def test_the_phantoms_true_displacement_is_found_on_raw_oblique_grids(phantom_head: Path) -> None:
    raw = RawSubject(phantom_head, "sub-001")
    scans = load_nifti(raw.scan("post_op")), load_nifti(raw.scan("event"))
    truth = read_json(phantom_head / "ground_truth/sub-001/truth.json")["event_world_from_post_op_world"]
    assert brain_errors_mm(np.eye(4), np.array(truth), phantom_head).mean() > 5  # there is something to find
    found = registered(*scans).moving_from_fixed
    errors = brain_errors_mm(found, np.array(truth), phantom_head)
    assert errors.mean() < 0.3 and errors.max() < 1.0
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("orientation", ["coronal", "sagittal"])
def test_oblique_grids_of_any_orientation_are_understood(orientation: str) -> None:
    # left-handed axes among them
    axes = ORIENTATIONS[orientation]
    moving = placed(head(), TRUE, tilt_deg=(12, -9, 17), spacing_mm=(2.4, 2.4, 3.3), axes=axes)
    fixed = placed(head(), STILL, tilt_deg=(-8, 11, 5), seed=1)
    assert errors_mm(registered(fixed, moving).moving_from_fixed, TRUE).max() < 0.2


@pytest.mark.parametrize("thick", ["fixed", "moving"])
def test_a_series_of_thick_slices_is_laid_over_an_isotropic_scan(thick: str) -> None:
    spacings = {"fixed": (3.0, 3.0, 3.0), "moving": (3.0, 3.0, 3.0), thick: (0.9, 0.9, 6.5)}
    fixed = placed(head(), STILL, spacing_mm=spacings["fixed"], seed=1)
    moving = placed(head(), TRUE, spacing_mm=spacings["moving"], tilt_deg=(6, 4, -5))
    assert errors_mm(registered(fixed, moving).moving_from_fixed, TRUE).max() < 1.0


def test_a_head_that_its_header_turns_upside_down_is_registered() -> None:
    turn, world = np.diag([-1.0, 1, -1]), np.eye(4)
    world[:3, :3] = turn
    result = registered(head(), with_header_turned(placed(head(), TRUE), turn))
    assert result.searched and result.failure is None
    assert errors_mm(result.moving_from_fixed, world @ TRUE).max() < 0.3


def test_the_affine_transform_recovers_another_scale_of_the_gradients() -> None:
    scaled = TRUE @ np.diag([1.03, 1.0, 0.98, 1.0])
    affine = registered(head(), placed(head(), scaled), transform="affine").moving_from_fixed
    assert errors_mm(affine, scaled).max() < 0.3
    np.testing.assert_allclose(np.linalg.svd(affine[:3, :3])[1], [1.03, 1.0, 0.98], atol=0.003)


def test_cross_correlation_serves_scans_of_one_contrast() -> None:
    found = registered(head(), placed(head(), TRUE), "cross_correlation").moving_from_fixed
    assert errors_mm(found, TRUE).max() < 0.5


def test_a_scan_that_ends_within_the_head_is_registered_by_what_it_shows() -> None:
    whole = placed(head(), TRUE)
    z = whole.grid.shape[2]
    cut = lower_part(whole, z // 3, z - z // 3)
    assert errors_mm(registered(head(), cut).moving_from_fixed, TRUE).max() < 0.5


@pytest.mark.parametrize(("swollen_mm", "most_mm", "share"), [(0.0, 0.15, 1.2), (10.0, 3.0, 0.9)])
def test_what_differs_does_not_pull_the_head(
    swollen_mm: float, most_mm: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cavity, lesion, what it pushes, a swollen scalp: with them excluded, and with the head's mask alone."""
    fixed, moving = after_surgery(), placed(at_event(swollen_mm), TRUE, tilt_deg=(5, 7, -4))
    excluded = errors_mm(registered(fixed, moving).moving_from_fixed, TRUE).mean()
    nothing = lambda f, *_: np.zeros(f.grid.shape, dtype=np.bool_)  # noqa: E731
    monkeypatch.setattr(rigid_registration, "disagreement", nothing)
    alone = errors_mm(registered(fixed, moving).moving_from_fixed, TRUE).mean()
    assert excluded < most_mm
    assert excluded < share * alone


# repeatability


def test_scans_averaged_before_give_the_same_bits_and_another_seed_nearly_the_same(tmp_path: Path) -> None:
    fixed, moving = head(), placed(head(), TRUE, spacing_mm=(1.4, 1.4, 2.2))
    raw = registered(fixed, moving, spacing_mm=5.0)
    before = registered(averaged(fixed, 5.0), averaged(moving, 5.0), spacing_mm=5.0)
    np.testing.assert_array_equal(raw.moving_from_fixed, before.moving_from_fixed)
    assert vars(raw) | {"moving_from_fixed": None} == vars(before) | {"moving_from_fixed": None}
    # coarser copies cost little accuracy
    assert errors_mm(raw.moving_from_fixed, TRUE).max() < 0.3
    other = register_rigid(fixed, moving, "mattes", 0, spacing_mm=5.0)
    assert 0 < errors_mm(other.moving_from_fixed, raw.moving_from_fixed).max() < 0.3
    raw.write(tmp_path)
    kept = RigidResult.read(tmp_path)
    np.testing.assert_array_equal(kept.moving_from_fixed, raw.moving_from_fixed)
    assert (kept.similarity, kept.overlap, kept.searched) == (raw.similarity, raw.overlap, raw.searched)


def test_itk_runs_on_one_thread_whatever_the_environment_says() -> None:
    script = textwrap.dedent("""
        import os, threading, time
        from moved_heads import displaced, head, placed
        from ricenet.preprocessing.registration.rigid_registration import register_rigid
        pair = head(), placed(head(), displaced((5, 5, 5), (5, 5, 5)))
        import ants
        import scipy.optimize, scipy.ndimage, skimage.filters
        before, seen = len(os.listdir("/proc/self/task")), []
        over = threading.Event()
        def watch():
            while not over.wait(0.002):
                seen.append(len(os.listdir("/proc/self/task")))
        watcher = threading.Thread(target=watch)
        watcher.start()
        register_rigid(*pair, "mattes", 3)
        over.set()
        watcher.join()
        print(max(seen) - before - 1)  # less the watcher
    """)
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted in /proc")
    environment = os.environ | {
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "4",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    # a pool of one worker at most
    assert int(done.stdout.split()[-1]) <= 1


# failures


GRID = head().grid


def noise(sd: float = 15.0) -> NDArray[np.float64]:
    return np.random.default_rng(5).normal(0, sd, GRID.shape)


def no_head(what: str) -> Volume:
    """Something that no transform lays over the head."""
    smooth = ndimage.gaussian_filter(noise(1.0), 2.0)
    texture, outline = 500 + 120 * smooth / smooth.std(), head_mask(head())
    points = GRID.world_mm(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(np.float64))
    from_middle = np.abs(np.indices(GRID.shape) - (np.array(GRID.shape)[:, None, None, None] - 1) / 2).max(
        axis=0
    )
    data = {
        "noise": 300 + noise(100.0),
        "a textured ball": np.where(np.linalg.norm(points, axis=-1) < 80, texture, 0.0) + noise(),
        "a textured box": np.where(from_middle < 24, texture, 0.0) + noise(),
        "a head without content": np.where(outline, 500.0, 0.0) + noise(),
        "noise in a head's outline": np.where(outline, 500 + noise(120.0), 0.0) + noise(),
    }[what]
    return Volume(np.abs(data).astype(np.float32), GRID)


def part_of_a_head(what: str) -> Volume:
    whole = placed(head(), TRUE)
    if what == "the top quarter of a head":
        z = whole.grid.shape[2]
        return lower_part(whole, z - z // 4, z // 4)
    half = whole.data.copy()
    half[: half.shape[0] // 2] = 0
    return Volume(half, whole.grid)


@pytest.mark.parametrize(
    ("what", "found"),
    [
        *((what, "") for what in ("noise", "a textured ball", "a textured box", "a head without content")),
        ("noise in a head's outline", ""),
        ("half a head", r"overlap \(Dice\) is 0.6"),
        ("the top quarter of a head", ""),
    ],
)
def test_what_is_no_whole_head_is_recognised(what: str, found: str) -> None:
    part = what in ("half a head", "the top quarter of a head")
    failure = registered(head(), part_of_a_head(what) if part else no_head(what)).failure
    assert failure is not None and re.search(found, failure)


def test_a_head_in_much_noise_is_no_failure() -> None:
    clean = placed(head(), TRUE)
    sd = 0.1 * float(np.percentile(clean.data, 99))
    draw = np.random.default_rng(4).normal(0, sd, (2, *clean.grid.shape))
    noisy = Volume(np.hypot(clean.data + draw[0], draw[1]).astype(np.float32), clean.grid)
    result = registered(head(), noisy)
    assert result.failure is None
    assert errors_mm(result.moving_from_fixed, TRUE).max() < 0.5
    assert rotation_deg(result.moving_from_fixed) == pytest.approx(rotation_deg(TRUE), abs=0.3)


@pytest.mark.parametrize(
    ("after", "before", "overlap", "found"),
    [
        (1.04, 1.0, 0.98, "1.040, 1.000 before it, expected at least 1.05"),
        (1.20, 1.23, 0.98, "1.200, 1.230 before it"),
        (1.20, 1.0, 0.68, r"overlap \(Dice\) is 0.68, expected at least 0.7$"),
        (1.22, 1.23, 0.98, None),
        (1.06, 1.0, 0.72, None),
    ],
)
def test_a_failure_says_what_was_found_and_expected(
    after: float, before: float, overlap: float, found: str | None
) -> None:
    failure = RigidResult(np.eye(4), after, before, overlap=overlap).failure
    assert (failure is None) if found is None else re.search(found, str(failure))
