"""An ensemble on disk predicts as the networks did, and a changed one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_ensembles import NARROW, ensemble_record, untrained, write_untrained

from ricenet.runtime.errors import FormatError, RegistryError
from ricenet.training.ensemble import Ensemble, majority_vote
from ricenet.training.ensemble_record import RECORD as RECORD_FILE
from ricenet.vocabulary import PAPER_VOLUMES

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
    with pytest.raises(RegistryError, match=r"shape \(1, 3, 16, 16, 16\) .* expected \(subjects, 2, X"):
        Ensemble.load(folder).predict(np.zeros((1, 3, 16, 16, 16), np.float32))


def flip_the_last_bit(folder: Path) -> None:
    path = folder / "fold-1.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def rewrite(**changes: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        record = json.loads((folder / RECORD_FILE).read_text()) | changes
        (folder / RECORD_FILE).write_text(json.dumps({k: v for k, v in record.items() if v is not None}))

    return write


def put(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / RECORD_FILE).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (flip_the_last_bit, "are not those that were written"),
        (rewrite(preprocessing={"cube_voxels": 17}), "are not those that were written"),
        (rewrite(format=None), "made by an earlier version of ricenet. Train again"),
        (rewrite(folds="two"), r"does not describe an ensemble \(folds\)"),
        (rewrite(network={"name": "resnet99"}), r"does not describe an ensemble \(network\)"),
        (lambda folder: (folder / "fold-1.safetensors").unlink(), "fold-1.safetensors not found, .* 2 folds"),
        (lambda folder: (folder / RECORD_FILE).unlink(), "no ensemble in"),
        (put("{"), "is not JSON"),
        (put("[]"), "does not describe an ensemble"),
        (put("{}"), "does not describe an ensemble"),
    ],
)  # fmt: skip
def test_a_changed_or_damaged_ensemble_is_refused(
    folder: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(folder)
    with pytest.raises((RegistryError, FormatError), match=words):
        Ensemble.load(folder)


def test_the_record_holds_network_volumes_and_variables_whole(folder: Path) -> None:
    record = json.loads((folder / RECORD_FILE).read_text())
    assert record["network"] == NARROW.model_dump()
    assert [spec["name"] for spec in record["volumes"]] == list(PAPER_VOLUMES.names)
    assert [spec.name for spec in Ensemble.load(folder).members] == ["post_op", "dose"]


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
