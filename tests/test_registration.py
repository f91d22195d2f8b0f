"""Rigid registration by ANTs against transforms that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heads import write_head

from ricenet.cohort.layout import RawSubject
from ricenet.errors import ScanError
from ricenet.files import read_json
from ricenet.preprocessing.pipeline import require_registered
from ricenet.preprocessing.registration import RigidResult, register_rigid
from ricenet.volume import Affine, Grid, Volume, load_nifti, resample


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_head(tmp_path_factory.mktemp("head"))


def isotropic(path: Path, spacing_mm: float = 3.0) -> Volume:
    volume = load_nifti(path)
    return resample(volume, Grid.covering(volume.grid, spacing_mm))


@pytest.fixture(scope="module")
def scans(head: Path) -> tuple[Volume, Volume]:
    raw = RawSubject(head, "sub-001")
    return isotropic(raw.scan("post_op")), isotropic(raw.scan("event"))


@pytest.fixture(scope="module")
def result(scans: tuple[Volume, Volume]) -> RigidResult:
    return register_rigid(*scans, metric="mattes", seed=3)


def mean_error_mm(found: Affine, truth: Affine, head: Path) -> float:
    """Mean target registration error over the true brain."""
    brain = load_nifti(head / "ground_truth" / "sub-001" / "brain.nii.gz")
    points = brain.grid.world_mm(np.argwhere(brain.data > 0).astype(np.float64))
    difference = found - truth
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def test_the_heads_true_displacement_is_found_within_half_a_millimetre(
    result: RigidResult, head: Path
) -> None:
    truth = np.array(read_json(head / "ground_truth/sub-001/truth.json")["event_world_from_post_op_world"])
    assert mean_error_mm(np.eye(4), truth, head) > 5  # there was something to find
    assert mean_error_mm(result.moving_from_fixed, truth, head) < 0.5


def test_the_transform_is_rigid(result: RigidResult) -> None:
    rotation = result.moving_from_fixed[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_similarity_is_higher_after_registration_than_for_a_shifted_head(
    result: RigidResult, scans: tuple[Volume, Volume]
) -> None:
    from ricenet.preprocessing.registration import normalised_mutual_information

    shifted = result.moving_from_fixed.copy()
    shifted[:3, 3] += 15
    assert result.similarity > normalised_mutual_information(*scans, shifted) + 0.02


def test_a_volume_shares_all_information_with_itself(scans: tuple[Volume, Volume]) -> None:
    from ricenet.preprocessing.registration import normalised_mutual_information

    assert normalised_mutual_information(scans[0], scans[0], np.eye(4)) == pytest.approx(2.0)


def test_the_same_seed_gives_the_same_transform_to_the_last_bit(
    result: RigidResult, scans: tuple[Volume, Volume]
) -> None:
    again = register_rigid(*scans, metric="mattes", seed=3)
    np.testing.assert_array_equal(again.moving_from_fixed, result.moving_from_fixed)


def test_a_head_and_noise_share_too_little_to_pass_as_registered(scans: tuple[Volume, Volume]) -> None:
    fixed = scans[0]
    noise = np.random.default_rng(1).normal(300, 100, fixed.grid.shape).astype(np.float32)
    result = register_rigid(fixed, Volume(noise, fixed.grid), metric="mattes", seed=3)
    with pytest.raises(ScanError, match="sub-2: event T1ce: registration to the post-op scan failed"):
        require_registered(result, "sub-2")
