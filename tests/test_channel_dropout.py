"""One network for every subset of its volumes: withheld ones cannot matter, and nothing else changes."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_folds import PREPROCESSING, SERIAL, TRAINING, elsewhere, plan, write_subjects

from ricenet.config.network_params import ResNetParams, SmallCnnParams
from ricenet.config.params import parse_params, read_yaml
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.randomness import generator_for
from ricenet.training.cross_validation import lay_out_ensembles, train_and_fuse
from ricenet.training.ensemble import Ensemble
from ricenet.training.fold import train_fold, train_together
from ricenet.training.networks import build_network, predict_logits
from ricenet.training.one_training import first_network
from ricenet.training.predictions import read_predictions
from ricenet.training.tensors_file import read_tensors
from ricenet.training.withheld_volumes import MayLackVolumes, draw_present, withhold

PROJECT = Path(__file__).parents[1]
SMALL = SmallCnnParams(widths=[2, 3, 4], channel_dropout=0.5)
SETS = ("post_op", "event", "dose", "post_op+event", "post_op+dose", "event+dose", "post_op+event+dose")


def drawn(probability: float, samples: int = 1400) -> np.ndarray:
    return draw_present(probability, 3, [generator_for("test", k) for k in range(samples)])


def test_every_subset_but_the_empty_one_is_drawn_about_equally_often() -> None:
    rows, counts = np.unique(drawn(1.0), axis=0, return_counts=True)
    assert {tuple(row) for row in rows.tolist()} == set(product((False, True), repeat=3)) - {(False,) * 3}
    # 200 each of 1400; five standard deviations are 66
    assert np.abs(counts - 200).max() < 66


def test_the_probability_is_that_of_drawing_a_subset_the_whole_one_among_them() -> None:
    # 0.3 x 6/7 of the samples lack a volume: 360 of 1400, SD 16
    assert abs(int((~drawn(0.3).all(axis=1)).sum()) - 360) < 80
    assert drawn(0.0).all()
    assert draw_present(1.0, 1, [generator_for("one", k) for k in range(20)]).all()


def test_what_a_withheld_volume_holds_cannot_matter() -> None:
    network = build_network(SMALL, 3).eval()
    volumes = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    others = volumes.clone()
    others[:, 1] = 100 * others[:, 0]
    present = np.array([True, False, True])
    answers = [network(withhold(v, present)) for v in (volumes, others)]
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=0)
    assert not torch.allclose(network(volumes), answers[0])


def test_a_withheld_volume_is_not_a_dark_one() -> None:
    network = build_network(SMALL, 2).eval()
    dark = torch.ones(1, 2, 8, 8, 8)
    dark[:, 1] = 0
    withheld = withhold(dark, np.array([True, False]))
    assert torch.isfinite(network(withheld)).all()
    assert not torch.allclose(network(withheld), network(dark))


def test_the_network_sees_volumes_and_planes_as_written_out_by_hand() -> None:
    network = build_network(SMALL, 2).eval()
    assert isinstance(network, MayLackVolumes)
    volumes = torch.randn(2, 2, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    seen = torch.zeros(2, 4, 8, 8, 8)
    seen[0, :2], seen[0, 2:] = volumes[0], 1
    seen[1, 1], seen[1, 3] = volumes[1, 1], 1
    given = torch.stack([volumes[0], withhold(volumes[1], np.array([False, True]))])
    torch.testing.assert_close(network(given), network.network(seen))


@pytest.mark.parametrize(
    "settings", [ResNetParams(widen_factor=0.05, stem_stride=2, channel_dropout=0.5), SMALL]
)
def test_networks_of_other_kinds_learn_without_some_volumes(settings: ResNetParams | SmallCnnParams) -> None:
    network = build_network(settings, 3)
    volumes = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(3))
    given = withhold(volumes, np.array([[True, False, False], [False, True, True]]))
    network(given).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The first fold of all three volumes, trained with dropout."""
    folder = tmp_path_factory.mktemp("channel-dropout")
    splits = write_subjects(folder / "preprocessed")
    task = plan(folder, splits, ["post_op+event+dose"])[0]
    task = dataclasses.replace(task, network=SMALL)
    train_fold(task)
    return {"task": task, "folder": folder, "splits": splits}


def test_the_held_out_are_answered_from_every_subset(trained: dict[str, object]) -> None:
    task = trained["task"]
    found = {subset: read_predictions(task.folder / file) for file, subset in task.prediction_files.items()}
    assert sorted(found) == sorted(SETS)
    for rows in found.values():
        assert [row.participant_id for row in rows] == list(task.validation_subjects)
    assert len({tuple(row.p_rice for row in rows) for rows in found.values()}) == len(SETS)
    assert task.is_finished


def test_the_answers_are_those_of_the_kept_network_without_these_volumes(trained: dict[str, object]) -> None:
    task = trained["task"]
    network = first_network(task)
    network.load_state_dict(read_tensors(task.folder / "weights.safetensors")[0])
    names = [spec.name for spec in task.members]
    subject = task.validation_subjects[0]
    volumes = read_volumes(task.preprocessed / subject, subject, names, task.grid).astype(np.float32)
    volumes[1] = np.nan
    (logits,) = predict_logits(network, torch.from_numpy(volumes[None]), 1).double()
    (row, *_) = read_predictions(task.folder / "predictions.post_op+dose.tsv")
    assert row.p_rice == pytest.approx(float(logits.softmax(0)[1]), abs=1e-6)


def test_trained_in_company_and_resumed_it_is_the_same(trained: dict[str, object], tmp_path: Path) -> None:
    alone = trained["task"]
    again = elsewhere(alone, tmp_path)
    (other,) = plan(trained["folder"], trained["splits"], ["dose"])[:1]
    assert train_together([again, elsewhere(other, tmp_path)]) == [None, None]
    for name in alone.results:
        assert (again.folder / name).read_bytes() == (alone.folder / name).read_bytes()


def test_without_dropout_nothing_is_as_it_was_not(trained: dict[str, object], tmp_path: Path) -> None:
    (task,) = plan(trained["folder"], trained["splits"], ["dose"])[:1]
    assert task.results == ("weights.safetensors", "history.csv", "predictions.tsv")
    assert not any("channel_dropout" in name for name in task.parameters)
    assert "channel_dropout" not in ResNetParams(widen_factor=1, stem_stride=1).model_dump()


def test_the_recipe_of_the_documentation_is_one() -> None:
    written = (PROJECT / "docs/training.md").read_text()
    example = re.search(r"^    recipes:\n(?:      .*\n)+", written, re.MULTILINE)
    assert example is not None
    recipes = yaml.safe_load(textwrap.dedent(example[0]).replace("2e-3", "0.002"))["recipes"]
    content = read_yaml(PROJECT / "params.yaml")
    content["recipes"] |= recipes
    content["modality_sets"].append("post_op+event+dose@any_volumes")
    assert parse_params(content, "params.yaml").by_recipe["any_volumes"].network.may_lack_volumes


def test_branches_see_no_planes_so_that_they_are_refused() -> None:
    settings = SmallCnnParams(branches=True, channel_dropout=0.5)
    (problem,) = settings.misfits({"preprocessing.cube_voxels": (32,)}, None, False)
    assert "set network.branches to false" in problem


def test_a_regression_beside_it_is_fitted_to_the_volumes_that_there_are(
    tmp_path: Path,
) -> None:
    splits = write_subjects(tmp_path / "preprocessed", 12, 16)
    folds = plan(tmp_path, splits, ["event+dose"], training=TRAINING.model_copy(update={"fusion": "mean"}))
    tasks = [
        dataclasses.replace(task, network=SMALL, grid=dataclasses.replace(task.grid, voxels=16))
        for task in folds
    ]
    fusion = train_and_fuse(tasks, SERIAL)["event+dose"]
    assert sorted(fusion.subsets) == ["dose", "event"]
    features = {
        name for group in fusion.subsets["dose"].folds[0].regression.groups for name in group.features
    }
    assert all(name.startswith("dose_") for name in features)
    lay_out_ensembles(tasks, tmp_path / "ensembles", "", "", "", PREPROCESSING, {"event+dose": fusion})
    ensemble = Ensemble.load(tmp_path / "ensembles/event+dose")
    task = tasks[0]
    subjects = task.validation_subjects[:2]
    volumes = np.stack(
        [
            read_volumes(task.preprocessed / s, s, ["event", "dose"], task.grid).astype(np.float32)
            for s in subjects
        ]
    )
    # of one subject the event is missing, of the other nothing
    volumes[0, 0] = np.nan
    found = ensemble.predict(volumes)[:, 0]
    expected = [fusion.subsets["dose"].predictions[0][0].p_rice, fusion.predictions[0][1].p_rice]
    np.testing.assert_allclose(found, expected, atol=1e-6)
