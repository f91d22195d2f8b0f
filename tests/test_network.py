"""The network is the paper's, its seed decides alone, and volumes that cannot be used are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_ensembles import untrained

from ricenet.config.networks import ResNetParams
from ricenet.preprocessing.dataset import load_volumes
from ricenet.runtime.errors import ScanError
from ricenet.training.networks import build_network, p_rice, predict_logits


def test_at_full_width_it_is_the_resnet_18_of_the_paper() -> None:
    network = build_network(ResNetParams(widen_factor=1.0, stem_stride=1), channels=3)
    stem = network.conv1
    assert isinstance(stem, torch.nn.Conv3d)
    assert (stem.in_channels, stem.out_channels, stem.kernel_size, stem.stride) == (
        3,
        64,
        (7, 7, 7),
        (1, 1, 1),
    )
    stages = [network.get_submodule(f"layer{k}") for k in range(1, 5)]
    assert [len(list(stage.children())) for stage in stages] == [2, 2, 2, 2]
    # 18 layers with weights: the stem, two convolutions in each of eight blocks, the head
    convolutions = [
        m for m in network.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size != (1, 1, 1)
    ]
    assert len(convolutions) + 1 == 18
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    assert (head.in_features, head.out_features) == (512, 2)


def test_weights_follow_from_seed_set_and_fold_alone() -> None:
    def first_weight(modality_set: str, fold: int, seed: int) -> torch.Tensor:
        return next(untrained(modality_set, fold, seed).parameters()).detach()

    reference = first_weight("dose", 1, 0)
    torch.manual_seed(99)
    torch.testing.assert_close(first_weight("dose", 1, 0), reference, rtol=0, atol=0)
    for other in (first_weight("event", 1, 0), first_weight("dose", 2, 0), first_weight("dose", 1, 3)):
        assert not torch.equal(other, reference)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    untrained("dose")
    torch.testing.assert_close(torch.rand(1), expected, rtol=0, atol=0)


def test_p_rice_is_the_second_class() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(3.0)]])
    np.testing.assert_allclose(p_rice(logits), [0.5, 0.75], rtol=1e-6)


def test_predictions_do_not_depend_on_the_batch_nor_change_the_network() -> None:
    network = untrained("dose").train()
    volumes = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 16, 16, 16)).astype(np.float32))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one = predict_logits(network, volumes, batch_size=1)
    torch.testing.assert_close(predict_logits(network, volumes, batch_size=4), one, rtol=1e-5, atol=1e-5)
    assert network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def write_volumes(folder: Path, subject: str, volumes: np.ndarray) -> None:
    (folder / subject).mkdir()
    np.save(folder / subject / "volumes.npy", volumes)


def test_volumes_keep_the_order_of_subjects_and_modalities(tmp_path: Path) -> None:
    for number in (1, 2):
        values = np.stack([np.full((4, 4, 4), 10 * number + k) for k in range(3)]).astype(np.float16)
        write_volumes(tmp_path, f"sub-00{number}", values)
    volumes = load_volumes(tmp_path, ["sub-002", "sub-001"], "post_op+dose", 4)
    assert volumes[:, :, 0, 0, 0].tolist() == [[20, 22], [10, 12]]


def test_a_missing_subject_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"sub-001: volumes.npy: not found"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_a_cube_of_another_size_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.zeros((3, 5, 5, 5), np.float16))
    with pytest.raises(ScanError, match=r"shape \(3, 5, 5, 5\) of float16, expected \(3, 4, 4, 4\)"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_an_array_of_another_type_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.zeros((3, 4, 4, 4), np.float32))
    with pytest.raises(ScanError, match=r"of float32, expected .* of float16\. Run `dvc repro preprocess`"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    volumes = np.zeros((3, 4, 4, 4), np.float16)
    volumes[2, 0, 0, :2] = np.nan, np.inf
    write_volumes(tmp_path, "sub-001", volumes)
    with pytest.raises(ScanError, match=r"2 voxel\(s\) of dose are not finite"):
        load_volumes(tmp_path, ["sub-001"], "event+dose", 4)
    assert load_volumes(tmp_path, ["sub-001"], "event", 4).shape == (1, 1, 4, 4, 4)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "sub-001").mkdir()
    (tmp_path / "sub-001" / "volumes.npy").write_bytes(content)
    with pytest.raises(ScanError, match=r"sub-001: volumes.npy: cannot be read"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    write_volumes(tmp_path, "sub-001", np.array([{}], dtype=object))
    with pytest.raises(ScanError, match="cannot be read"):
        load_volumes(tmp_path, ["sub-001"], "dose", 4)
