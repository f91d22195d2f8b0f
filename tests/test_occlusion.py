import json

import numpy as np
import pytest
import torch
from small_results import GRID, write_preprocessed, write_splits

from ricenet.ensemble import Ensemble
from ricenet.errors import ResultError
from ricenet.evaluation.anatomy_figure import Anatomy
from ricenet.evaluation.drawing import save_figure
from ricenet.occlusion import sensitivity
from ricenet.occlusion.explanation import check_ensemble, explain_subject
from ricenet.occlusion.figure import Explained, occlusion_figure, strongest_voxel
from ricenet.occlusion.sensitivity import cube_starts, occlusion_map
from ricenet.occlusion.subjects import held_out_fold, subjects_to_explain
from ricenet.splits import Splits, read_splits
from ricenet.volume import Grid, load_nifti


def logit_network(weights, calls=None):
    """Two logits (0, sum of weights times input): p_rice is the logistic function of that sum."""

    def network(inputs):
        if calls is not None:
            calls.append(len(inputs))
        rice = (inputs.double() * torch.from_numpy(weights)).sum(dim=(1, 2, 3, 4))
        return torch.stack([torch.zeros_like(rice), rice], dim=1)

    return network


def logistic(x):
    return 1 / (1 + np.exp(-x))


def plain_loop(p_rice, volumes, cube, stride):
    """The definition, voxel by voxel: mean change over the cubes that hold the voxel."""
    shape = volumes.shape[1:]
    starts = []
    for n in shape:
        along = list(range(0, n - cube + 1, stride))
        starts.append(along if along[-1] == n - cube else [*along, n - cube])
    result = np.zeros(shape)
    for voxel in np.ndindex(*shape):
        changes = []
        for corner in ((x, y, z) for x in starts[0] for y in starts[1] for z in starts[2]):
            if all(c <= v < c + cube for c, v in zip(corner, voxel, strict=True)):
                hidden = volumes.copy()
                x, y, z = corner
                hidden[:, x : x + cube, y : y + cube, z : z + cube] = 0
                changes.append(p_rice(volumes) - p_rice(hidden))
        result[voxel] = np.mean(changes)
    return result


def test_one_informative_voxel_by_hand():
    # cubes of 2 at 0 and 1 along each axis of 3 voxels; the centre lies in all eight cubes
    volumes, weights = np.zeros((1, 3, 3, 3), np.float32), np.ones((1, 3, 3, 3))
    volumes[0, 1, 1, 1] = 2
    result = occlusion_map(logit_network(weights), volumes, cube_voxels=2, stride_voxels=1)
    assert result.baseline_p_rice == pytest.approx(logistic(2))
    # every cube hides the centre, so every voxel's mean is the same fall from 0.88 to 0.5
    np.testing.assert_allclose(result.change, logistic(2) - 0.5, rtol=1e-6)


def test_hiding_evidence_against_rice_is_a_negative_change():
    volumes, weights = np.zeros((1, 4, 4, 4), np.float32), np.full((1, 4, 4, 4), -1.0)
    volumes[0, 0, 0, 0] = 3
    change = occlusion_map(logit_network(weights), volumes, cube_voxels=2, stride_voxels=2).change
    np.testing.assert_allclose(change[:2, :2, :2], logistic(-3) - 0.5, rtol=1e-6)
    assert np.count_nonzero(change) == 8


@pytest.mark.parametrize(("cube", "stride"), [(2, 1), (3, 2), (2, 2), (5, 5), (4, 3)])
def test_equals_the_plain_loop_over_voxels_and_cubes(cube, stride, monkeypatch):
    rng = np.random.default_rng(cube * 10 + stride)
    volumes = rng.normal(size=(2, 5, 6, 7)).astype(np.float32)
    volumes[:, :2] = 0
    weights = rng.normal(size=volumes.shape) / 5
    monkeypatch.setattr(sensitivity, "BATCH_VOXELS", 3 * volumes.size)  # several uneven batches
    found = occlusion_map(logit_network(weights), volumes, cube, stride).change
    expected = plain_loop(lambda v: logistic((v.astype(float) * weights).sum()), volumes, cube, stride)
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_all_channels_are_hidden_together():
    volumes = np.ones((2, 2, 2, 2), np.float32)
    weights = np.stack([np.full((2, 2, 2), 0.5), np.full((2, 2, 2), -0.5)])
    # one channel alone would change p_rice; hidden at once the two cancel
    assert np.allclose(occlusion_map(logit_network(weights), volumes, 1, 1).change, 0)


@pytest.mark.parametrize(
    ("voxels", "cube", "stride"), [(32, 6, 3), (32, 6, 6), (9, 4, 4), (7, 7, 1), (5, 1, 1)]
)
def test_cubes_cover_every_voxel_and_end_at_the_border(voxels, cube, stride):
    starts = cube_starts(voxels, cube, stride)
    covered = {start + i for start in starts for i in range(cube)}
    assert covered == set(range(voxels))
    assert len(set(starts)) == len(starts)


def test_background_needs_no_forward_pass():
    volumes, calls = np.zeros((1, 8, 8, 8), np.float32), []
    volumes[0, 0, 0, 0] = 1
    occlusion_map(logit_network(np.ones(volumes.shape), calls), volumes, cube_voxels=2, stride_voxels=2)
    assert calls == [1, 1]  # the baseline, and the one cube of 64 that holds something


def test_input_is_left_as_it_was():
    volumes = np.ones((1, 3, 3, 3), np.float32)
    occlusion_map(logit_network(np.ones(volumes.shape)), volumes, 2, 1)
    assert np.all(volumes == 1)


SPLITS = Splits(
    labels={"sub-1": "rice", "sub-2": "recurrence", "sub-3": "rice", "sub-4": "recurrence", "sub-0": "rice"},
    folds=(("sub-3", "sub-4"), ("sub-1", "sub-2")),
    test=("sub-0",),
)


def test_the_first_of_each_label_is_explained_and_never_a_test_subject():
    assert subjects_to_explain(SPLITS, 1) == ["sub-2", "sub-1"]
    assert subjects_to_explain(SPLITS, 5) == ["sub-2", "sub-4", "sub-1", "sub-3"]
    assert subjects_to_explain(SPLITS, 0) == []


def test_the_fold_that_explains_did_not_train_on_the_subject():
    assert held_out_fold(SPLITS, "sub-1") == 1
    assert "sub-1" not in SPLITS.training_subjects(1)


def small_anatomy():
    brain = np.zeros((8, 8, 8), bool)
    brain[1:7, 1:7, 1:7] = True
    mri = np.where(brain, np.random.default_rng(0).normal(size=brain.shape), 0).astype(np.float32)
    return Anatomy("sub-1", "rice", mri, mri, mri * 0 + 60, brain, Grid.cube(np.zeros(3), 5.0, 8), {})


EXPLAINED = Explained("post_op+dose", "sub-1", "rice", "recurrence", fold=1, p_rice=0.25)


def test_strongest_voxel_is_by_absolute_change():
    change = np.zeros((8, 8, 8), np.float32)
    change[2, 3, 4], change[5, 5, 5] = -0.4, 0.3
    assert strongest_voxel(change) == (2, 3, 4)
    assert strongest_voxel(np.zeros((8, 8, 8), np.float32)) == (4, 4, 4)


def test_figure_shows_three_volumes_in_three_planes_through_the_strongest_voxel(tmp_path):
    change = np.zeros((8, 8, 8), np.float32)
    change[2, 3, 4] = -0.4
    figure = occlusion_figure(EXPLAINED, change, small_anatomy())
    panels = figure.axes[:9]
    assert [axes.get_ylabel() for axes in panels[::3]] == ["post-op", "event (no input)", "dose"]
    for axes in panels:
        overlay = axes.images[1]
        assert overlay.get_array().min() == pytest.approx(-0.4)  # the voxel is in every slice
        assert overlay.get_clim() == pytest.approx((-0.4, 0.4))  # centred at 0
    assert "change of p_rice" in figure.axes[9].get_ylabel()
    assert "sub-1 is rice, predicted recurrence (p_rice 0.25)" in figure.get_suptitle()
    assert "fold 1, which did not train on this subject" in figure.get_suptitle()


def test_figure_gives_the_same_bytes_twice(tmp_path):
    change = np.full((8, 8, 8), 0.1, np.float32)
    for name in ("a.png", "b.png"):
        save_figure(occlusion_figure(EXPLAINED, change, small_anatomy()), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


class ConstantPixelNetwork(torch.nn.Module):
    """p_rice rises with the first channel's sum; one parameter, so that it has a device."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.01))

    def forward(self, inputs):
        rice = self.weight * inputs[:, 0].sum(dim=(1, 2, 3))
        return torch.stack([-rice, rice], dim=1)


def small_ensemble(splits_digest):
    record = {"modality_set": "dose", "splits_digest": splits_digest}
    return Ensemble(record, [ConstantPixelNetwork(), ConstantPixelNetwork()])


def test_explanation_is_written_on_the_subjects_cube_grid(tmp_path):
    write_splits(tmp_path)
    write_preprocessed(tmp_path, "sub-005")
    splits = read_splits(tmp_path / "work/splits/splits.json")
    ensemble = small_ensemble(splits.digest)
    check_ensemble(ensemble, splits)
    out = tmp_path / "out"
    explained = explain_subject(
        ensemble, splits, "sub-005", tmp_path / "work/preprocessed", tmp_path / "data", out,
        cube_voxels=10, stride_voxels=10,
    )  # fmt: skip
    stored = load_nifti(out / "occlusion.nii.gz")
    np.testing.assert_allclose(stored.grid.affine, GRID.affine)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["fold"] == explained.fold == 1
    assert (summary["label"], summary["predicted"]) == ("rice", "rice")
    assert summary["max"] == pytest.approx(float(stored.data.max()))
    # the dose lies in the octant of the plateau, so hiding it matters most
    assert stored.data[13, 12, 11] == stored.data.max() > stored.data[0, 0, 0]
    assert (out / "figure.png").stat().st_size > 0


def test_an_ensemble_of_other_splits_is_refused():
    with pytest.raises(
        ResultError, match=r"ensemble dose: trained with splits 000000000000, but splits\.json is"
    ):
        check_ensemble(small_ensemble("0" * 64), SPLITS)
