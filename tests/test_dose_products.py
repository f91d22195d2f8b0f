"""Products of dose and MRI: what an opening leaves, what is multiplied, and what an ensemble answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_folds import CUBE, PREPROCESSING, SERIAL, TRAINING, plan, write_subjects

from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.cross_validation import lay_out_ensembles, train_and_fuse
from ricenet.training.dose_products import BRIGHTEST_VOXELS, RADII_VOXELS, DoseProducts, solid_features
from ricenet.training.ensemble import Ensemble
from ricenet.training.ensemble_record import EnsembleRecord, read_record
from ricenet.training.fusion import Fusion
from ricenet.training.group_regression import FeatureGroup, fit_group_regression
from ricenet.training.networks import p_rice, predict_logits
from ricenet.training.task import FoldTask
from ricenet.vocabulary import PAPER_VOLUMES

BOTH, DOSE_ALONE = PAPER_VOLUMES.members("event+dose"), PAPER_VOLUMES.members("dose")
PRODUCTS = TRAINING.model_copy(update={"fusion": "products", "epochs": 1})


def opened(mri: np.ndarray) -> np.ndarray:
    """Of one MRI, (len(RADII_VOXELS),); the dose beside it is nothing."""
    (group,) = solid_features(np.stack([mri, np.zeros_like(mri)])[None].astype(np.float32), BOTH)
    assert group.name == "event solid"
    return group.values[0]


def slowly_opened(mri: np.ndarray, radius: float) -> float:
    """The least of each ball, then of these the largest of each ball, voxel by voxel; the edge goes on."""
    reach = int(radius)
    steps = range(-reach, reach + 1)
    ball = [
        (i, j, k) for i in steps for j in steps for k in steps if i * i + j * j + k * k <= radius * radius
    ]

    def each(values: np.ndarray, pick: type[min] = min) -> np.ndarray:
        wide = np.pad(values, reach, mode="edge")
        return np.array(
            [
                pick(wide[tuple(p + reach + s for p, s in zip(place, step, strict=True))] for step in ball)
                for place in np.ndindex(values.shape)
            ]
        ).reshape(values.shape)

    values = sorted(each(each(mri, min), max).ravel())[-BRIGHTEST_VOXELS:]
    return float(np.mean(values))


def distance_from_the_middle(size: int = 17) -> np.ndarray:
    axis = np.arange(size) - size // 2
    return np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))


def test_a_solid_nodule_stays_bright_and_a_ring_of_the_same_size_does_not() -> None:
    r = distance_from_the_middle()
    nodule, ring = (r <= 5) * 2.0, ((r <= 5) & (r > 3)) * 2.0
    assert opened(nodule).tolist() == [2, 2, 2, 2]
    # two voxels thick, so no ball of 2 voxels' radius lies within
    assert opened(ring)[2:].tolist() == [0, 0]


def test_an_opening_is_the_largest_of_the_least_within_balls() -> None:
    mri = np.random.default_rng(0).normal(size=(7, 6, 8)).astype(np.float32)
    assert opened(mri) == pytest.approx([slowly_opened(mri, radius) for radius in RADII_VOXELS], abs=1e-6)


def test_without_a_dose_there_is_nothing_to_multiply_with() -> None:
    mris = PAPER_VOLUMES.members("post_op+event")
    assert solid_features(np.zeros((1, 2, CUBE, CUBE, CUBE), np.float32), mris) == ()


def groups(solid: list[list[float]], dose: list[list[float]]) -> list[FeatureGroup]:
    return [
        FeatureGroup("dose intensities", tuple(f"d{i}" for i in range(len(dose[0]))), np.array(dose)),
        FeatureGroup("event intensities", ("e",), np.zeros((len(dose), 1))),
        FeatureGroup("event solid", tuple(f"s{i}" for i in range(len(solid[0]))), np.array(solid)),
    ]


def test_products_are_of_standardised_numbers() -> None:
    """Means 2 and (20, 5), SDs 1 and (10, 1, for what does not vary): by hand."""
    fitted = DoseProducts.fitted(groups([[1.0], [3.0]], [[10.0, 5.0], [30.0, 5.0]]), "dose")
    (found,) = fitted.of(groups([[3.0], [0.0]], [[10.0, 6.0], [40.0, 5.0]]))
    assert found.name == "event solid x dose intensities"
    assert found.features == ("s0 x d0", "s0 x d1")
    assert found.values.tolist() == [[-1, 1], [-4, 0]]
    assert DoseProducts.model_validate_json(fitted.model_dump_json()) == fitted


def test_groups_that_it_was_not_fitted_to_are_an_error() -> None:
    known = groups([[1.0], [3.0]], [[10.0], [30.0]])
    with pytest.raises(ValueError, match="event solid"):
        DoseProducts.fitted(known, "dose").of(known[:2])


def test_products_tell_what_neither_factor_tells() -> None:
    """RICE where dose and solidity are both high or both low: side by side they tell nothing of it."""
    solid, dose = np.random.default_rng(1).normal(size=(2, 200, 1))
    is_rice = (solid * dose)[:, 0] > 0
    known = groups((solid + 3).tolist(), (dose - 2).tolist())
    half = np.arange(200) < 80
    products = DoseProducts.fitted([g.rows(half) for g in known], "dose")
    right = {}
    for name, seen in {"side by side": known, "products": [*known, *products.of(known)]}.items():
        fitted = fit_group_regression([g.rows(half) for g in seen], is_rice[half])
        says = fitted.logits([g.rows(~half) for g in seen]) > 0
        right[name] = np.mean(says == is_rice[~half])
    assert right["products"] > 0.9 and right["side by side"] < 0.65


# ---- in an ensemble


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[FoldTask], dict[str, Fusion]]:
    folder = tmp_path_factory.mktemp("products")
    splits = write_subjects(folder / "preprocessed", 12)
    tasks = plan(folder, splits, ["dose", "event+dose"], training=PRODUCTS)
    return tasks, train_and_fuse(tasks, SERIAL)


@pytest.fixture(scope="module")
def ensembles(
    tmp_path_factory: pytest.TempPathFactory, trained: tuple[list[FoldTask], dict[str, Fusion]]
) -> Path:
    folder = tmp_path_factory.mktemp("ensembles")
    tasks, fusions = trained
    lay_out_ensembles(tasks, folder, "", "", "", PREPROCESSING, fusions)
    return folder


def test_the_ensemble_answers_as_its_folds_did(
    ensembles: Path, trained: tuple[list[FoldTask], dict[str, Fusion]]
) -> None:
    tasks, fusions = trained
    ensemble = Ensemble.load(ensembles / "event+dose")
    for task in (task for task in tasks if task.modality_set == "event+dose"):
        rows = fusions["event+dose"].predictions[task.fold]
        names = [spec.name for spec in task.members]
        subjects = [row.participant_id for row in rows]
        volumes = np.stack([read_volumes(task.preprocessed / s, s, names, task.grid) for s in subjects])
        batch = torch.from_numpy(volumes.astype(np.float32))
        expected = pytest.approx([row.p_rice for row in rows], abs=1e-6)
        assert ensemble.predict(batch)[:, task.fold] == expected
        # what is explained and perturbed answers alike
        assert p_rice(predict_logits(ensemble.answering(task.fold, {}), batch, 2)).numpy() == expected


def test_only_training_subjects_say_how_factors_are_standardised(
    trained: tuple[list[FoldTask], dict[str, Fusion]],
) -> None:
    tasks, fusions = trained
    task = next(task for task in tasks if task.modality_set == "event+dose")
    names = [spec.name for spec in task.members]
    volumes = [read_volumes(task.preprocessed / s, s, names, task.grid) for s in task.training_subjects]
    (solid,) = solid_features(np.stack(volumes), task.members)
    products = fusions["event+dose"].folds[task.fold].products
    assert products is not None
    assert products.mean["event solid"] == pytest.approx(solid.values.mean(axis=0))
    assert set(products.mean) == {"dose intensities", "event solid"}


def test_a_dose_alone_is_answered_for_as_by_the_mean(
    ensembles: Path, trained: tuple[list[FoldTask], dict[str, Fusion]]
) -> None:
    assert all(fold.products is None for fold in trained[1]["dose"].folds)
    record: EnsembleRecord = read_record(ensembles / "dose")
    assert all("products" not in fold.model_dump() for fold in record.fused)
