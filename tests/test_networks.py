"""Networks by name: the paper's is the default, each trains and is kept, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from preprocessed_subjects import head_of
from small_ensembles import NARROW, untrained
from small_folds import (
    CUBE,
    PREPROCESSING,
    TRAINING,
    InterruptAfter,
    Interrupted,
    elsewhere,
    plan,
    results,
    write_subjects,
)

from ricenet.config.network_params import (
    NETWORKS,
    NetworkParams,
    ResNetParams,
    SmallCnnParams,
    network_by_name,
)
from ricenet.config.params import parse_params, read_params, read_yaml
from ricenet.config.preset import use_preset
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import ParamsError, TrainingError
from ricenet.training.cross_validation import lay_out_ensembles
from ricenet.training.ensemble import Ensemble
from ricenet.training.fold import train_fold
from ricenet.training.initial_weights import InitialWeights, for_channels
from ricenet.training.networks import build_network, p_rice, predict_logits
from ricenet.training.one_training import first_network
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS
from ricenet.training.tensors_file import write_tensors

PROJECT = Path(__file__).parents[1]
SMALL_CNN = SmallCnnParams(widths=[2, 3, 4])
EACH: dict[str, NetworkParams] = {
    "resnet18": NARROW,
    "resnet10": ResNetParams(name="resnet10", widen_factor=0.05, stem_stride=2),
    "densenet121": network_by_name({"name": "densenet121"}),
    "small_cnn": SMALL_CNN,
}


def test_at_full_width_the_default_is_the_resnet_18_of_the_paper() -> None:
    network = build_network(ResNetParams(widen_factor=1.0, stem_stride=1), channels=3)
    stem = network.conv1
    assert isinstance(stem, torch.nn.Conv3d)
    shape = (stem.in_channels, stem.out_channels, stem.kernel_size, stem.stride)
    assert shape == (3, 64, (7, 7, 7), (1, 1, 1))
    stages = [network.get_submodule(f"layer{k}") for k in range(1, 5)]
    assert [len(list(stage.children())) for stage in stages] == [2, 2, 2, 2]
    # 18 layers with weights: the stem, two convolutions in each of eight blocks, the head
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size[0] > 1]
    assert len(convolutions) + 1 == 18
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    assert (head.in_features, head.out_features) == (512, 2)


def test_weights_follow_from_seed_set_and_fold_alone() -> None:
    def first_weight(*who: Any) -> torch.Tensor:
        return next(untrained(*who).parameters()).detach()

    reference = first_weight("dose", 1, 0)
    torch.manual_seed(99)
    expected = torch.rand(1)
    torch.manual_seed(99)
    assert torch.equal(first_weight("dose", 1, 0), reference)
    # and the global random state is left alone
    assert torch.equal(torch.rand(1), expected)
    for other in (("event", 1, 0), ("dose", 2, 0), ("dose", 1, 3)):
        assert not torch.equal(first_weight(*other), reference)


def test_p_rice_is_the_second_class() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, np.log(3.0)]])
    np.testing.assert_allclose(p_rice(logits), [0.5, 0.75], rtol=1e-6)


def test_predictions_do_not_depend_on_the_batch_nor_change_the_network() -> None:
    network = untrained("dose").train()
    volumes = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 16, 16, 16)).astype(np.float32))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one = predict_logits(network, volumes, batch_size=1)
    torch.testing.assert_close(predict_logits(network, volumes, batch_size=4), one, rtol=1e-5, atol=1e-5)
    assert predict_logits(network, volumes[:0], batch_size=4).shape == (0, 2)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# ---- each network


def test_every_network_is_tried_here_or_in_a_file_of_its_own() -> None:
    # that of several visits has to know its volumes' sessions: test_visits_network.py
    assert EACH.keys() | {"visits"} == NETWORKS.keys()


@pytest.mark.parametrize("name", EACH)
def test_each_network_takes_volumes_of_its_least_size_and_gives_two_logits(name: str) -> None:
    settings = EACH[name]
    network = build_network(settings, channels=2).eval()
    volumes = torch.randn(1, 2, *(max(settings.least_voxels, 8),) * 3)
    assert network(volumes).shape == (1, 2)
    grouped = build_network(settings.model_copy(update={"norm": "group"}), channels=2)
    assert not [m for m in grouped.modules() if isinstance(m, torch.nn.BatchNorm3d)]


@pytest.mark.parametrize("name", EACH)
def test_batch_norm_needs_several_samples_up_to_the_size_that_leaves_one_voxel(name: str) -> None:
    network, single = build_network(EACH[name], channels=1).train(), EACH[name]._single_voxel()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(torch.randn(1, 1, single, single, single))
    assert EACH[name].misfits({"cube": (single,) * 3}, 1, False)
    assert not EACH[name].misfits({"cube": (single + 1,) * 3}, 1, False)
    assert not EACH[name].misfits({"box": (single, single + 1, single)}, 1, False)
    network(torch.randn(1, 1, single + 1, single + 1, single + 1))


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("resnet10", "bfloat16"),
        ("densenet121", "bfloat16"),
        ("small_cnn", "bfloat16"),
        ("small_cnn", "float32"),
    ],
)
def test_each_network_trains_resumes_and_predicts_as_an_ensemble(
    name: str, precision: str, tmp_path: Path
) -> None:
    cube = max(CUBE, EACH[name].least_voxels)
    splits = write_subjects(tmp_path / "preprocessed", 6, cube)
    preprocessing = PREPROCESSING.model_copy(update={"cube_voxels": cube})
    training = TRAINING.model_copy(update={"epochs": 2, "precision": precision})
    task = plan(tmp_path, splits, network=EACH[name], training=training, preprocessing=preprocessing)[0]
    whole, broken = elsewhere(task, "whole"), elsewhere(task, "broken")
    train_fold(whole)
    with pytest.raises(Interrupted):
        train_fold(broken, InterruptAfter(1))
    train_fold(broken)
    assert results(broken) == results(whole)

    lay_out_ensembles([whole], tmp_path / "ensembles", "data", "volumes", splits.digest, preprocessing)
    ensemble = Ensemble.load(tmp_path / "ensembles/dose")
    assert ensemble.record.network == EACH[name]
    volumes = np.stack(
        [read_volumes(task.preprocessed / s, s, ["dose"], head_of(cube)) for s in task.validation_subjects]
    ).astype(np.float32)
    expected = [row.p_rice for row in read_predictions(whole.folder / PREDICTIONS)]
    np.testing.assert_allclose(ensemble.predict(volumes)[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "resnet50"}, "unknown network 'resnet50'; expected one of resnet18, resnet10"),
        ({"name": "densenet121", "stem_stride": 2}, "densenet121 has no use for stem_stride; remove"),
        ({"widen_factor": 1.0, "stem_stride": 2, "variables": True}, "resnet18 has no use for variables"),
        ({"name": "small_cnn", "variables": True}, "network.variables: true, but none are declared"),
        ({"name": "small_cnn", "widths": [8, 16, 65]}, "network.widths.2: Input should be less"),
        ({"name": "small_cnn", "width": 8}, "network.width: unknown key"),
        ({"stem_stride": 2}, "network.widen_factor: missing"),
        ({"name": "small_cnn", "initial_weights": "a.pt"}, "a.pt: expected a .safetensors file"),
        ("small_cnn", "expected the settings of a network, found 'small_cnn'"),
    ],
)  # fmt: skip
def test_a_section_that_the_network_cannot_work_with_is_refused(section: Any, words: str) -> None:
    content = read_yaml(PROJECT / "params.yaml") | {"network": section, "variables": []}
    with pytest.raises(ParamsError) as refused:
        parse_params(content, "params.yaml")
    (problem,) = refused.value.problems
    assert words in problem


def test_a_cube_that_leaves_nothing_in_the_last_stage_is_refused() -> None:
    content = read_yaml(PROJECT / "params.yaml") | {"network": {"name": "densenet121"}}
    content["preprocessing"]["cube_voxels"] = 28
    with pytest.raises(ParamsError, match="28 is too small for densenet121, which needs at least 29"):
        parse_params(content, "params.yaml")
    # with the demo's 32, a single voxel is left
    content["preprocessing"]["cube_voxels"] = 32
    content["training"]["samples_at_once"] = 1
    with pytest.raises(ParamsError, match="1 leaves batch norm a single value in the last stage"):
        parse_params(content, "params.yaml")


# ---- initial weights


def weights_file(path: Path, tensors: dict[str, torch.Tensor]) -> InitialWeights:
    write_tensors(tensors, path)
    found = InitialWeights.of(str(path))
    assert found is not None
    return found


def test_initial_weights_are_taken_over_and_the_first_layer_is_adapted(tmp_path: Path) -> None:
    one = build_network(SMALL_CNN, channels=1)
    given = weights_file(
        tmp_path / "one.safetensors", {f"module.{k}": v for k, v in one.state_dict().items()}
    )
    three = build_network(SMALL_CNN, channels=3)
    given.load_into(three, "small_cnn")
    volume = torch.randn(2, 1, 8, 8, 8)
    # three equal channels give what one gave
    torch.testing.assert_close(three.eval()(volume.expand(-1, 3, -1, -1, -1)), one.eval()(volume))


def test_a_first_layer_for_other_channels_is_the_rescaled_mean() -> None:
    kernel = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1, 1)
    # a sum of 4 over two channels stays 4 over four of them
    assert for_channels(kernel, 4).flatten().tolist() == [1.0, 1.0, 1.0, 1.0]
    assert for_channels(kernel, 2) is kernel


def test_a_head_of_another_size_and_what_the_file_lacks_keep_their_own_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = build_network(SMALL_CNN, channels=1).state_dict()
    state |= {"head.weight": torch.zeros(5, 4), "head.bias": torch.zeros(5)}
    del state["features.1.weight"]
    network = build_network(SMALL_CNN, channels=1)
    head = network.get_parameter("head.weight").detach().clone()
    weights_file(tmp_path / "some.safetensors", state).load_into(network, "small_cnn")
    assert torch.equal(network.get_parameter("head.weight"), head)
    assert torch.equal(network.get_parameter("features.3.weight"), state["features.3.weight"])
    assert "3 tensors keep their random values: features.1.weight, head.bias, head.weight" in caplog.text


def changed(weights: InitialWeights) -> None:
    weights.path.write_bytes(weights.path.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("tensors", "spoil", "words"),
    [
        ({"conv1.weight": torch.zeros(2, 1, 3, 3, 3)}, None, "none of its 1 tensors has the name"),
        (
            {"features.3.weight": torch.zeros(3, 2, 5, 5, 5)},
            None,
            r"features.3.weight has the shape \(3, 2, 5",
        ),
        ({"head.bias": torch.zeros(2)}, changed, "changed since this training was planned"),
        ({"head.bias": torch.zeros(2)}, lambda w: w.path.write_bytes(b"no tensors"), "cannot be read"),
    ],
    ids=["nothing fits", "another kernel", "changed", "damaged"],
)
def test_weights_that_do_not_fit_are_refused_by_file_and_network(
    tensors: dict[str, torch.Tensor], spoil: Any, words: str, tmp_path: Path
) -> None:
    given = weights_file(tmp_path / "other.safetensors", tensors)
    if spoil is not None:
        spoil(given)
    network = build_network(SMALL_CNN, channels=1)
    with pytest.raises(TrainingError, match=f"other.safetensors does not fit small_cnn: .*{words}"):
        given.load_into(network, "small_cnn")


def test_a_fold_begins_from_the_file_whose_digest_is_part_of_its_key(tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    path = tmp_path / "own.safetensors"
    network = SMALL_CNN.model_copy(update={"initial_weights": str(path)})
    with pytest.raises(ParamsError, match=r"network.initial_weights: .*own.safetensors not found"):
        plan(tmp_path, splits, network=network)
    keys = set()
    for value in (0.25, 0.5):
        state = build_network(SMALL_CNN, channels=1).state_dict()
        weights_file(path, state | {"head.bias": torch.full((2,), value)})
        task = plan(tmp_path, splits, network=network)[0]
        assert first_network(task).get_parameter("head.bias").tolist() == [value] * 2
        assert (
            task.initial_weights and task.parameters["network.initial_weights"] == task.initial_weights.digest
        )
        keys.add(task.key)
    assert len(keys) == 2


def test_a_scale_brings_the_papers_network_back(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (PROJECT / "params.yaml").read_text()
    start, end = text.index("  name: resnet18"), text.index("  norm: batch")
    path.write_text(text[:start] + "  name: densenet121\n" + text[end:])
    use_preset("demo", path)
    network = read_params(path).network
    assert isinstance(network, ResNetParams) and (network.name, network.widen_factor) == ("resnet18", 0.25)
