"""An ensemble on disk predicts as the networks did, and a changed one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_ensembles import ensemble_record, untrained, write_untrained

from ricenet.runtime.errors import RegistryError
from ricenet.training.ensemble import Ensemble, majority_vote

RECORD = ensemble_record("post_op+dose")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_untrained(tmp_path / "post_op+dose", RECORD)
    return tmp_path / "post_op+dose"


def test_each_column_is_one_fold(folder: Path) -> None:
    volumes = np.random.default_rng(0).normal(size=(3, 2, 16, 16, 16)).astype(np.float32)
    predicted = Ensemble.load(folder).predict(volumes)
    for fold in range(2):
        network = untrained("post_op+dose", fold).eval()
        with torch.no_grad():
            alone = [torch.softmax(network(torch.from_numpy(v)[None]), 1)[0, 1].item() for v in volumes]
        np.testing.assert_allclose(predicted[:, fold], alone, atol=1e-5)


def test_the_digest_follows_weights_and_provenance(folder: Path, tmp_path: Path) -> None:
    digest = Ensemble.load(folder).digest
    assert write_untrained(tmp_path / "again", RECORD) == digest
    assert write_untrained(tmp_path / "again", RECORD, seed=1) != digest
    assert write_untrained(tmp_path / "again", ensemble_record("post_op+dose", splits_digest="x")) != digest


def test_volumes_of_other_modalities_are_refused(folder: Path) -> None:
    with pytest.raises(
        RegistryError, match=r"shape \(1, 3, 16, 16, 16\) .* expected \(subjects, 2, X, Y, Z\)"
    ):
        Ensemble.load(folder).predict(np.zeros((1, 3, 16, 16, 16), np.float32))


def test_changed_weights_are_refused(folder: Path) -> None:
    path = folder / "fold-1.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RegistryError, match="are not those that were written"):
        Ensemble.load(folder)


def test_a_changed_record_is_refused(folder: Path) -> None:
    record = json.loads((folder / "ensemble.json").read_text())
    (folder / "ensemble.json").write_text(json.dumps({**record, "preprocessing": {"cube_voxels": 17}}))
    with pytest.raises(RegistryError, match="are not those that were written"):
        Ensemble.load(folder)


def test_a_missing_fold_is_named(folder: Path) -> None:
    (folder / "fold-1.safetensors").unlink()
    with pytest.raises(RegistryError, match=r"fold-1.safetensors not found, ensemble.json names 2 folds"):
        Ensemble.load(folder)


def test_a_folder_without_an_ensemble_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no ensemble in"):
        Ensemble.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "does not describe an ensemble"), ("{}", "does not describe")],
)
def test_a_damaged_record_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "ensemble.json").write_text(text)
    with pytest.raises(RegistryError, match=message):
        Ensemble.load(folder)


@pytest.mark.parametrize(
    ("p_rice", "rice"),
    [
        ([0.5, 0.5, 0.5, 0.0, 0.0], True),  # three of five, though the mean is 0.3
        ([1.0, 1.0, 0.49, 0.49, 0.49], False),  # two of five, though the mean is 0.69
        ([0.9, 0.2], True),  # a tie: the mean is 0.55
        ([0.6, 0.2], False),  # a tie: the mean is 0.4
    ],
)
def test_the_majority_decides_and_the_mean_breaks_ties(p_rice: list[float], rice: bool) -> None:
    assert majority_vote(np.array([p_rice])).tolist() == [rice]
