"""Rigid registration by ANTs against transforms that are known."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from heads import write_head
from moved_heads import displaced, errors_mm, head, placed, with_header_turned

from ricenet.cohort.layout import RawSubject
from ricenet.phantom.acquisition import ORIENTATIONS
from ricenet.preprocessing.registration.ants import RigidResult, failure_of, register_rigid
from ricenet.preprocessing.registration.coarse import averaged
from ricenet.runtime.files import read_json
from ricenet.volume import Affine, Grid, Volume, load_nifti

TRUE = displaced((8, -5, 6), (10, -8, 5))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_head(tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def scans(cohort: Path) -> tuple[Volume, Volume]:
    """On their own oblique grids of long voxels, with cavity and lesion."""
    raw = RawSubject(cohort, "sub-001")
    return load_nifti(raw.scan("post_op")), load_nifti(raw.scan("event"))


@pytest.fixture(scope="module")
def result(scans: tuple[Volume, Volume]) -> RigidResult:
    return register_rigid(*scans, metric="mattes", seed=3)


def brain_errors_mm(found: Affine, truth: Affine, cohort: Path) -> np.ndarray:
    """Target registration errors over the true brain."""
    brain = load_nifti(cohort / "ground_truth" / "sub-001" / "brain.nii.gz")
    points = brain.grid.world_mm(np.argwhere(brain.data > 0).astype(np.float64))
    difference = found - truth
    return np.asarray(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1))


# what is found


def test_the_heads_true_displacement_is_found_on_raw_oblique_grids(result: RigidResult, cohort: Path) -> None:
    truth = np.array(read_json(cohort / "ground_truth/sub-001/truth.json")["event_world_from_post_op_world"])
    assert brain_errors_mm(np.eye(4), truth, cohort).mean() > 5  # there was something to find
    errors = brain_errors_mm(result.moving_from_fixed, truth, cohort)
    assert errors.mean() < 0.3 and errors.max() < 1.0


def test_the_transform_is_rigid(result: RigidResult) -> None:
    rotation = result.moving_from_fixed[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_oblique_grids_of_any_orientation_are_understood(orientation: str) -> None:
    # left-handed axes among them
    moving = placed(
        head(), TRUE, tilt_deg=(12, -9, 17), spacing_mm=(2.4, 2.4, 3.3), axes=ORIENTATIONS[orientation]
    )
    fixed = placed(head(), displaced((0, 0, 0), (0, 0, 0)), tilt_deg=(-8, 11, 5), seed=1)
    found = register_rigid(fixed, moving, "mattes", 3).moving_from_fixed
    assert errors_mm(found, TRUE).max() < 0.2


@pytest.mark.parametrize("thick", ["fixed", "moving"])
def test_a_series_of_thick_slices_is_laid_over_an_isotropic_scan(thick: str) -> None:
    spacings = {"fixed": (3.0, 3.0, 3.0), "moving": (3.0, 3.0, 3.0), thick: (0.9, 0.9, 6.5)}
    fixed = placed(head(), displaced((0, 0, 0), (0, 0, 0)), spacing_mm=spacings["fixed"], seed=1)
    moving = placed(head(), TRUE, spacing_mm=spacings["moving"], tilt_deg=(6, 4, -5))
    found = register_rigid(fixed, moving, "mattes", 3).moving_from_fixed
    assert errors_mm(found, TRUE).max() < 1.0


def test_a_head_that_its_header_turns_upside_down_is_registered() -> None:
    turn, world = np.diag([-1.0, 1, -1]), np.eye(4)
    world[:3, :3] = turn
    turned = with_header_turned(placed(head(), TRUE), turn)
    result = register_rigid(head(), turned, "mattes", 3)
    assert result.searched
    assert errors_mm(result.moving_from_fixed, world @ TRUE).max() < 0.3
    assert failure_of(result) is None


def test_the_affine_transform_recovers_another_scale_of_the_gradients() -> None:
    scaled = TRUE @ np.diag([1.03, 1.0, 0.98, 1.0])
    moving = placed(head(), scaled)
    affine = register_rigid(head(), moving, "mattes", 3, transform="affine").moving_from_fixed
    assert errors_mm(affine, scaled).max() < 0.3
    np.testing.assert_allclose(np.linalg.svd(affine[:3, :3])[1], [1.03, 1.0, 0.98], atol=0.003)


def test_cross_correlation_serves_scans_of_one_contrast() -> None:
    found = register_rigid(head(), placed(head(), TRUE), "cross_correlation", 3).moving_from_fixed
    assert errors_mm(found, TRUE).max() < 0.5


def test_coarser_copies_cost_little_accuracy() -> None:
    found = register_rigid(head(), placed(head(), TRUE), "mattes", 3, spacing_mm=5.0)
    assert errors_mm(found.moving_from_fixed, TRUE).max() < 0.3


def test_a_scan_that_ends_within_the_head_is_registered_by_what_it_shows() -> None:
    whole = placed(head(), TRUE)
    start = np.eye(4)
    start[2, 3] = whole.grid.shape[2] // 3
    x, y, z = whole.grid.shape
    cut = Volume(whole.data[:, :, z // 3 :], Grid((x, y, z - z // 3), whole.grid.affine @ start))
    assert errors_mm(register_rigid(head(), cut, "mattes", 3).moving_from_fixed, TRUE).max() < 0.5


# repeatability


def test_the_same_seed_gives_the_same_transform_to_the_last_bit(
    result: RigidResult, scans: tuple[Volume, Volume]
) -> None:
    again = register_rigid(*scans, metric="mattes", seed=3)
    np.testing.assert_array_equal(again.moving_from_fixed, result.moving_from_fixed)
    assert (again.similarity, again.overlap) == (result.similarity, result.overlap)


def test_another_seed_moves_the_head_by_less_than_the_error(
    result: RigidResult, scans: tuple[Volume, Volume], cohort: Path
) -> None:
    other = register_rigid(*scans, metric="mattes", seed=0)
    moved = brain_errors_mm(other.moving_from_fixed, result.moving_from_fixed, cohort)
    assert 0 < moved.max() < 0.3


def test_scans_averaged_before_give_the_same_bits() -> None:
    fixed, moving = head(), placed(head(), TRUE, spacing_mm=(1.4, 1.4, 2.2))
    raw = register_rigid(fixed, moving, "mattes", 3, spacing_mm=3.0)
    before = register_rigid(averaged(fixed, 3.0), averaged(moving, 3.0), "mattes", 3, spacing_mm=3.0)
    np.testing.assert_array_equal(raw.moving_from_fixed, before.moving_from_fixed)
    assert raw == RigidResult(raw.moving_from_fixed, *list(vars(before).values())[1:])


def test_itk_runs_on_one_thread_whatever_the_environment_says() -> None:
    script = textwrap.dedent("""
        import os, threading, time
        from moved_heads import displaced, head, placed
        from ricenet.preprocessing.registration import register_rigid
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
        "PYTHONPATH": str(Path(__file__).parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    # a pool of one worker at most
    assert int(done.stdout.split()[-1]) <= 1
