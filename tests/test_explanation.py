"""Which networks explain whom, what is written, and what is refused."""

import json

import numpy as np
import pytest
import torch
from small_ensembles import ensemble_record
from small_results import GRID, LABELS, write_ground_truth, write_preprocessed, write_splits
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.networks import ResNetParams
from ricenet.config.params import ExplainParams
from ricenet.evaluation.occlusion.explain_cohort import explain_subjects
from ricenet.evaluation.occlusion.explanation import Explainer
from ricenet.evaluation.occlusion.sensitivity import OcclusionSettings
from ricenet.evaluation.occlusion.subjects import require_explainable, subjects_to_explain
from ricenet.evaluation.occlusion.votes import decided, fold_votes, held_out_folds, interval_of_mean
from ricenet.runtime.errors import ResultError
from ricenet.training.ensemble import Ensemble
from ricenet.training.networks import build_network
from ricenet.volume import load_nifti

SPLITS = Splits(
    labels={"sub-1": "rice", "sub-2": "recurrence", "sub-3": "rice", "sub-4": "recurrence", "sub-0": "rice"},
    folds=(("sub-3", "sub-4"), ("sub-1", "sub-2")),
    test=("sub-0",),
)
NETWORK = ResNetParams(widen_factor=1 / 32, stem_stride=2)


def small_ensemble(splits_digest, modality_set="event+dose", folds=2):
    """Untrained networks, each of which leans another way."""
    torch.manual_seed(5)
    channels = len(modality_set.split("+"))
    networks = [build_network(NETWORK, channels).eval() for _ in range(folds)]
    for fold, network in enumerate(networks):
        network.fc.bias.data = torch.tensor([0.0, 1.0 - 2 * fold])
    digests = {"splits_digest": splits_digest, "preprocessing_digest": "p" * 64, "digest": "e" * 64}
    return Ensemble(ensemble_record(modality_set, network=NETWORK, **digests), networks)


@pytest.fixture
def project(tmp_path):
    write_splits(tmp_path)
    for subject in ("sub-001", "sub-005", "sub-009"):
        write_preprocessed(tmp_path, subject)
        write_ground_truth(tmp_path / "data", subject)
    return tmp_path


def explainer(project, **changes):
    splits = read_splits(project / "work/splits/splits.json")
    settings = OcclusionSettings(cube_voxels=10, stride_voxels=10)
    values = {"settings": settings, "each_modality": True, **changes}
    values.setdefault("ensemble", small_ensemble(splits.digest))
    return Explainer(
        splits=splits, preprocessed=project / "work/preprocessed", cohort=project / "data", seed=7, **values
    )


def test_the_first_of_each_label_is_explained_and_never_a_test_subject():
    assert subjects_to_explain(SPLITS, 1) == ["sub-2", "sub-1"]
    assert subjects_to_explain(SPLITS, None) == ["sub-2", "sub-4", "sub-1", "sub-3"]
    assert subjects_to_explain(SPLITS, 0) == []


def test_only_networks_that_did_not_train_on_a_subject_speak_for_it():
    assert held_out_folds(SPLITS, "sub-1") == [1]
    assert "sub-1" not in SPLITS.training_subjects(1)
    assert held_out_folds(SPLITS, "sub-0") == [0, 1]


def test_every_fold_votes_and_the_held_out_one_decides(project):
    splits = read_splits(project / "work/splits/splits.json")
    ensemble = small_ensemble(splits.digest)
    volumes = np.zeros((2, 20, 20, 20), np.float32)
    votes = fold_votes(ensemble, splits, "sub-005", volumes)
    assert [vote.held_out for vote in votes] == [False, True]
    assert votes[0].p_rice > 0.5 > votes[1].p_rice
    assert decided(votes) == "recurrence"


def test_interval_of_five_networks_by_hand():
    # log-odds -1, 0, 1: mean 0, SD 1, t(0.975, 2) = 4.303, so 0 +- 4.303 / sqrt(3)
    p_rice = 1 / (1 + np.exp(-np.array([-1.0, 0.0, 1.0])))
    low, high = interval_of_mean(p_rice.tolist())
    assert (low, high) == pytest.approx((1 / (1 + np.exp(2.4843)), 1 / (1 + np.exp(-2.4843))), abs=1e-4)
    assert interval_of_mean([0.3]) is None
    assert interval_of_mean([0.0, 1.0]) == pytest.approx((0, 1), abs=1e-3)


def test_a_subject_of_a_fold_is_explained_by_that_folds_network(project):
    explained = explainer(project).explain("sub-005")
    case = explained.case
    assert list(case.maps) == ["together", "event", "dose"]
    assert case.p_rice == pytest.approx(case.votes[1].p_rice, abs=1e-6)
    assert case.interval is None
    assert explained.occlusions["together"].baseline_p_rice == pytest.approx(case.p_rice, abs=1e-6)
    assert {share.name for share in case.summaries["dose"].regions} == {"cavity", "lesion"}
    # an untrained network's map is another one
    assert not np.allclose(explained.untrained["together"], case.maps["together"])


def test_a_subject_of_no_fold_is_explained_by_all_networks(project):
    case = explainer(project, each_modality=False).explain("sub-009").case
    assert list(case.maps) == ["together"]
    assert case.p_rice == pytest.approx(np.mean([vote.p_rice for vote in case.votes]))
    low, high = case.interval
    assert low < case.p_rice < high


def test_of_one_modality_hiding_it_alone_is_not_computed_again(project):
    splits = read_splits(project / "work/splits/splits.json")
    explained = explainer(project, ensemble=small_ensemble(splits.digest, "dose")).explain("sub-005")
    assert list(explained.case.maps) == ["together"]


def test_explanations_are_written_on_the_subjects_grid_with_a_page_each(project):
    out = project / "out"
    explain_subjects(explainer(project), ["sub-001", "sub-005"], out)
    stored = load_nifti(out / "sub-005/occlusion_dose.nii.gz")
    np.testing.assert_allclose(stored.grid.affine, GRID.affine)
    summary = json.loads((out / "sub-005/summary.json").read_text())
    assert (summary["fold"], summary["label"]) == (1, LABELS["sub-005"])
    assert summary["maps"]["dose"]["max"] == pytest.approx(float(stored.data.max()))
    assert summary["maps"]["dose"]["of_cubes"] == 8
    assert "<svg" in (out / "sub-005/figure.svg").read_text()
    assert (out / "sub-005/figure.png").stat().st_size > 0
    gallery = (out / "index.html").read_text()
    assert 'href="sub-001/index.html"' in gallery and 'href="sub-005/index.html"' in gallery
    assert "sub-005" in (out / "sub-005/index.html").read_text()
    truth = json.loads((out / "truth.json").read_text())
    assert truth["subjects"] == 2 and "dose" in truth["maps"]


def test_a_cohort_without_known_cause_has_no_truth(project):
    out = project / "out"
    (project / "data").rename(project / "elsewhere")
    (project / "data").mkdir()
    explain_subjects(explainer(project, each_modality=False), ["sub-005"], out)
    assert not (out / "truth.json").exists()


def test_a_subject_that_fails_is_named_and_the_others_are_written(project):
    (project / "work/preprocessed/sub-001/post_op.npy").write_bytes(b"no array")
    told = r"(?s)1 of 2 subjects could not be explained:\n  - sub-001: volumes"
    with pytest.raises(ResultError, match=told):
        explain_subjects(explainer(project, each_modality=False), ["sub-001", "sub-005"], project / "out")
    assert (project / "out/sub-005/index.html").is_file()
    assert not (project / "out/sub-001").exists()
    # the gallery does not hide it
    assert "sub-001: post_op.npy" in (project / "out/index.html").read_text()


def test_an_ensemble_of_other_splits_is_refused(project):
    with pytest.raises(
        ResultError, match=r"ensemble event\+dose: trained with splits 000000000000, but splits\.json is"
    ):
        explainer(project, ensemble=small_ensemble("0" * 64))


def test_subjects_that_are_not_there_are_refused(project):
    preprocessed = project / "work/preprocessed"
    with pytest.raises(ResultError, match=r"not preprocessed: sub-77; .* has sub-001 to sub-009, 3 in all"):
        require_explainable(["sub-005", "sub-77"], SPLITS, preprocessed, voted=False)


def test_a_test_subject_is_explained_only_after_its_vote(project):
    splits = read_splits(project / "work/splits/splits.json")
    preprocessed = project / "work/preprocessed"
    with pytest.raises(ResultError, match="of the independent test set: sub-009; explaining shows"):
        require_explainable(["sub-009"], splits, preprocessed, voted=False)
    require_explainable(["sub-009"], splits, preprocessed, voted=True)


def test_parameters_become_settings():
    params = ExplainParams(
        modality_sets=["dose"], subjects_per_label=None, cube_voxels=6, stride_voxels=3, fill="blurred"
    )
    assert OcclusionSettings.of(params) == OcclusionSettings(6, 3, fill="blurred", memory_mb=256)


@pytest.mark.parametrize("arguments", [[], ["sub-001", "--cohort"]])
def test_the_command_wants_subjects_or_the_cohort(arguments):
    result = CliRunner().invoke(app, ["explain", *arguments])
    assert result.exit_code == 2
    assert "name subjects, or give --cohort for all" in " ".join(result.output.replace("│", " ").split())
