"""Which networks explain whom, what is written, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from explained_cases import settings
from preprocessed_subjects import MEASUREMENTS, image_of, mask_of, save_measurements
from scipy.special import logit
from small_ensembles import ensemble_record
from small_results import (
    GRID,
    LABELS,
    TEST,
    write_fold,
    write_ground_truth,
    write_preprocessed,
    write_raw_dose,
    write_splits,
)
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.checked import CheckedCohort, CheckedSubject
from ricenet.cohort.layout import RawSubject
from ricenet.cohort.splits import Splits, read_splits
from ricenet.config.inputs import Box
from ricenet.config.network_params import ResNetParams, SmallCnnParams
from ricenet.config.params import ExecutionParams
from ricenet.evaluation.evidence.calibration import fit_temperature
from ricenet.evaluation.held_out import read_out_of_fold
from ricenet.evaluation.occlusion import kept_explanations as kept_module
from ricenet.evaluation.occlusion.explain_cohort import explain_subjects, write_case, write_gallery
from ricenet.evaluation.occlusion.explained_case import Explanation, structure_doses
from ricenet.evaluation.occlusion.explainer import Explainer, held_out_folds
from ricenet.evaluation.occlusion.kept_explanations import kept_explanations
from ricenet.evaluation.occlusion.subject_explainer import SubjectExplainer, interval_of_mean
from ricenet.runtime.errors import CohortError, ResultError
from ricenet.runtime.store import Store
from ricenet.training.ensemble import Ensemble
from ricenet.training.networks import build_network, initial_network
from ricenet.training.predictions import read_predictions, write_predictions
from ricenet.training.variables import VariableEncoder
from ricenet.vocabulary import PAPER_VOLUMES, VariableSpec
from ricenet.volume import load_nifti

NETWORK = ResNetParams(widen_factor=1 / 32, stem_stride=2)
SMALL_CNN = SmallCnnParams(widths=[2, 2, 2])
SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
TWO_WORKERS = ExecutionParams(backend="processes", workers=2, threads_per_worker="auto")
SEX = VariableSpec(name="sex", kind="category")


def small_ensemble(splits_digest, modality_set="event+dose", network=NETWORK, **record):
    """Untrained networks of two folds, each of which leans another way."""
    torch.manual_seed(5)
    digests = {"splits_digest": splits_digest, "preprocessing_digest": "p" * 64, "digest": "e" * 64}
    cube = {"cube_voxels": 20, "spacing_mm": 8.0}
    made = ensemble_record(modality_set, network=network, preprocessing=cube, **digests, **record)
    columns = len(made.encoders[0].columns) if made.encoders else 0
    networks = [build_network(network, len(made.members), columns).eval() for _ in range(2)]
    for fold, one in enumerate(networks):
        (one.fc if network is NETWORK else one.head).bias.data = torch.tensor([0.0, 1.0 - 2 * fold])
    return Ensemble(made, networks)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Results of three subjects; nothing writes into its folders but `out`."""
    folder = tmp_path_factory.mktemp("project")
    write_splits(folder)
    for modality_set in ("dose", "event+dose"):
        for fold in (0, 1):
            write_fold(folder, modality_set, fold)
    for subject in ("sub-001", "sub-005", "sub-009"):
        write_preprocessed(folder, subject)
        write_ground_truth(folder / "data", subject)
        write_raw_dose(folder, folder / "data", subject)
    return folder


def explainer(project, modality_set="event+dose", ensemble=None, cohort="data", lacks=(), **values):
    splits = read_splits(project / "work/splits/splits.json")
    scans = dict.fromkeys(PAPER_VOLUMES.names, "a")
    subjects = [
        CheckedSubject(
            participant_id=subject, label=label, variables={"sex": "F"},
            scans={name: digest for name, digest in scans.items() if (subject, name) not in lacks},
        )
        for subject, label in LABELS.items()
    ]  # fmt: skip
    return Explainer(
        ensemble=ensemble or small_ensemble(splits.digest, modality_set),
        cohort=CheckedCohort.of(cohort, subjects),
        splits=splits,
        project=project,
        settings=settings(10, 10, **values),
        seed=7,
    )


def test_a_case_has_the_doses_of_its_brain_and_its_known_masks_in_the_doses_own_voxels(project):
    raw, folder = RawSubject(project / "data", "sub-005"), project / "work/preprocessed/sub-005"
    doses = structure_doses(raw, folder)
    assert list(doses) == ["brain", "cavity", "lesion"]
    dose_gy, brain = (load_nifti(path).data for path in (image_of(folder, "dose"), mask_of(folder)))
    for level in (0, 20, 57):
        counted = ((brain > 0) & (dose_gy >= level)).sum() * 0.512  # 8 mm a side
        assert doses["brain"].volume_ml(level) == pytest.approx(counted, rel=0.02)
    assert explainer(project, each_modality=False).explain("sub-005").doses.keys() == doses.keys()


def test_without_a_dose_there_is_no_histogram(project, tmp_path):
    folder = tmp_path / "sub-005"
    save_measurements(folder, MEASUREMENTS.model_copy(update={"dose": None}))
    assert structure_doses(RawSubject(project / "data", "sub-005"), folder) == {}


def test_the_first_of_each_label_with_the_volumes_is_explained_and_never_a_test_subject(project):
    found = explainer(project)
    assert found.subjects(1) == ["sub-002", "sub-001"]
    assert found.subjects(0) == []
    assert sorted(found.subjects(None)) == sorted({*LABELS} - {*TEST})
    assert explainer(project, lacks={("sub-002", "dose"), ("sub-001", "post_op")}).subjects(1) == [
        "sub-004",
        "sub-001",
    ]


def test_only_networks_that_did_not_train_on_a_subject_speak_for_it():
    splits = Splits({"sub-1": "rice", "sub-2": "rice", "sub-0": "rice"}, (("sub-2",), ("sub-1",)), ("sub-0",))
    assert held_out_folds(splits, "sub-1") == [1]
    assert "sub-1" not in splits.training_subjects(1)
    assert held_out_folds(splits, "sub-0") == [0, 1]


def test_interval_of_several_networks_by_hand():
    # log-odds -1, 0, 1: mean 0, SD 1, t(0.975, 2) = 4.303, so 0 +- 4.303 / sqrt(3)
    p_rice = 1 / (1 + np.exp(-np.array([-1.0, 0.0, 1.0])))
    low, high = interval_of_mean(p_rice.tolist())
    assert (low, high) == pytest.approx((1 / (1 + np.exp(2.4843)), 1 / (1 + np.exp(-2.4843))), abs=1e-4)
    assert interval_of_mean([0.3]) is None
    assert interval_of_mean([0.0, 1.0]) == pytest.approx((0, 1), abs=1e-3)


def test_a_subject_of_a_fold_is_explained_by_that_folds_network(project):
    found = explainer(project).explain("sub-005")
    said = found.explanation
    assert said.held_out == (1,)
    assert said.votes[0].p_rice > 0.5 > said.votes[1].p_rice == said.p_rice
    assert (said.predicted, said.interval) == ("recurrence", None)
    assert list(found.maps) == list(said.maps) == ["together", "event", "dose"]
    assert {share.name for share in said.maps["dose"].regions} == {"cavity", "lesion"}
    # an untrained network's map is another one
    assert not np.allclose(found.untrained["together"], found.maps["together"])


def test_a_subject_of_no_fold_is_explained_by_all_networks(project):
    found = explainer(project, each_modality=False).explain("sub-009")
    said = found.explanation
    assert list(found.maps) == ["together"]
    assert said.p_rice == pytest.approx(np.mean([vote.p_rice for vote in said.votes]))
    low, high = said.interval
    assert low < said.p_rice < high


@pytest.mark.parametrize(
    ("coverage", "said"),
    [
        # of the other fold's two of RICE at 0.9 and two of recurrence at 0.2
        (0.5, "rice (such sets hold the true label of 50 % of each label's patients)"),
        (0.9, "not known: fewer than 9 held-out subjects have recurrence and rice, and a set that holds"),
    ],
)
def test_a_held_out_subjects_set_of_labels_comes_from_the_other_folds(project, coverage, said):
    found = dataclasses.replace(explainer(project, each_modality=False), coverage=coverage)
    told = found.explain("sub-005").explanation
    assert told.provenance["set of labels"].startswith(said)


def test_a_probability_is_calibrated_by_the_held_out_subjects_of_other_folds(project):
    known = read_out_of_fold(project / "work/training", "event+dose", explainer(project).splits)
    of_fold_0 = [row for row in known if row.fold == 0]
    answers = np.array([row.p_rice for row in of_fold_0])
    temperature = fit_temperature(answers, np.array([row.label == "rice" for row in of_fold_0]))
    said = explainer(project, each_modality=False).explain("sub-005").explanation
    # one fold alone, so a temperature
    assert logit(said.calibrated) == pytest.approx(logit(said.p_rice) / temperature)
    assert (said.sees, said.fused) == ("head", False)


def test_maps_of_the_box_around_the_brains_lie_where_the_box_lies(project, tmp_path):
    box = Box(first=(4, 2, 0), shape=(16, 18, 20))
    splits = read_splits(project / "work/splits/splits.json")
    boxed = small_ensemble(splits.digest, "dose", input="brain", box=box)
    found = explainer(project, "dose", boxed).explain("sub-005")
    assert found.explanation.sees == "brain"
    assert found.maps["together"].shape == (16, 18, 20)
    write_case(found, tmp_path)
    saved = load_nifti(tmp_path / "occlusion.nii.gz")
    # the box's first voxel is the cube's (4, 2, 0), and its spacing the cube's
    corner = GRID.world_mm(np.array([4.0, 2.0, 0.0]))
    np.testing.assert_allclose(saved.grid.world_mm(np.zeros(3)), corner, atol=1e-4)
    assert saved.grid.spacing_mm == pytest.approx((8.0, 8.0, 8.0))
    # hiding the corner that holds the dose's maximum, (13, 12, 11) of the cube, changes what it did there
    dose = load_nifti(image_of(project / "work/preprocessed/sub-005", "dose")).data
    np.testing.assert_allclose(found.anatomy.images["dose"], dose[4:20, 2:20, 0:20])
    assert found.anatomy.brain.shape == found.anatomy.known_masks["lesion"].shape == (16, 18, 20)
    of_box = torch.from_numpy((dose[4:20, 2:20, 0:20] / 60).astype(np.float16).astype(np.float32))[None, None]
    with torch.no_grad():
        expected = torch.softmax(boxed.networks[1](of_box), dim=1)[0, 1]
    assert found.explanation.votes[1].p_rice == pytest.approx(float(expected), abs=1e-6)


def test_a_hidden_cube_larger_than_the_box_is_refused(project):
    splits = read_splits(project / "work/splits/splits.json")
    box = Box(first=(4, 2, 0), shape=(16, 8, 20))
    boxed = small_ensemble(splits.digest, "dose", input="brain", box=box)
    with pytest.raises(ResultError, match=r"cube_voxels: 10 is larger .* 16 x 8 x 20 voxels of 8 mm. Take 8"):
        explainer(project, "dose", boxed).explain("sub-005")


def test_of_one_volume_hiding_it_alone_is_not_computed_again(project):
    assert list(explainer(project, "dose").explain("sub-005").maps) == ["together"]


def test_untrained_weights_repeat_and_are_not_those_from_which_training_started(project):
    def weights(fold):
        made = explainer(project)
        one = SubjectExplainer(made.ensemble, made.settings, made.seed, synthetic=True)
        return one._untrained(fold).conv1.weight.detach().cpu()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(0))
    start = initial_network(NETWORK, "event+dose", 1, 7, channels=2).conv1.weight
    assert not torch.equal(weights(1), start)


@pytest.mark.parametrize("with_variables", [False, True])
def test_a_network_that_is_not_understood_is_explained_too(project, with_variables):
    network = SMALL_CNN.model_copy(update={"variables": with_variables})
    encoder = VariableEncoder.fitted([SEX], [{"sex": "F"}, {"sex": "M"}])
    record = {"encoders": (encoder, encoder), "variables": (SEX,)} if with_variables else {}
    digest = read_splits(project / "work/splits/splits.json").digest
    ensemble = small_ensemble(digest, network=network, **record)
    found = explainer(project, ensemble=ensemble, each_modality=False).explain("sub-005")
    assert found.explanation.maps["together"].cubes > 0
    assert found.maps["together"].any()


def test_explanations_are_written_on_the_subjects_grid_with_a_page_each(project):
    out = project / "out/all"
    explain_subjects(explainer(project), ["sub-001", "sub-005"], out)
    stored = load_nifti(out / "sub-005/occlusion_dose.nii.gz")
    np.testing.assert_allclose(stored.grid.affine, GRID.affine)
    summary = Explanation.read(out / "sub-005/summary.json", "explain")
    assert (summary.held_out, summary.label) == ((1,), LABELS["sub-005"])
    assert summary.maps["dose"].max == pytest.approx(float(stored.data.max()))
    assert summary.maps["dose"].of_cubes == 8
    assert "<svg" in (out / "sub-005/figure.svg").read_text()
    assert (out / "sub-005/figure.png").stat().st_size > 0
    gallery = (out / "index.html").read_text()
    assert 'href="sub-001/index.html"' in gallery and 'href="sub-005/index.html"' in gallery
    assert "sub-005" in (out / "sub-005/index.html").read_text()
    truth = json.loads((out / "truth.json").read_text())
    assert truth["subjects"] == 2 and "dose" in truth["maps"]


def test_a_subject_that_fails_is_named_and_the_others_are_written(project):
    out = project / "out/some"
    damaged = project / "work/preprocessed/sub-003"
    write_preprocessed(project, "sub-003")
    (damaged / "event.npy").write_bytes(b"no array")
    # of a cohort whose maker knows no cause
    write_raw_dose(project, project / "real", "sub-005")
    with pytest.raises(ResultError, match=r"(?s)1 of 2 subjects could not be explained:\n  - sub-003: event"):
        explain_subjects(explainer(project, each_modality=False, cohort="real"), ["sub-003", "sub-005"], out)
    assert (out / "sub-005/index.html").is_file()
    assert not (out / "sub-003").exists()
    assert not (out / "truth.json").exists()
    # the gallery does not hide it
    assert "sub-003: event.npy" in (out / "index.html").read_text()


def kept(found, store, subjects=("sub-001", "sub-005"), execution=SERIAL):
    """Each subject's key in the store."""
    return kept_explanations({"event+dose": found}, {"event+dose": subjects}, execution, store)["event+dose"]


def test_two_workers_keep_what_the_command_makes_alone_to_the_last_bit_and_once(project, tmp_path, caplog):
    found, store = explainer(project, each_modality=False), Store(tmp_path / "store")
    keys = kept(found, store, execution=TWO_WORKERS)
    assert all(load_nifti(store.path(key) / "occlusion.nii.gz").data.any() for key in keys.values())
    explain_subjects(found, ["sub-001", "sub-005"], tmp_path / "command")
    for subject, key in keys.items():
        store.lay_out(key, tmp_path / "stage" / subject)
    write_gallery(found, list(keys), {}, tmp_path / "stage")
    for subject in keys:
        made, alone = (
            {path.name: path.read_bytes() for path in (tmp_path / by / subject).iterdir()}
            for by in ("stage", "command")
        )
        assert made == alone
    for name in ("index.html", "truth.json", "truth.md"):
        assert (tmp_path / "stage" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    made = {key: store.path(key).stat().st_ino for key in keys.values()}
    damaged = store.path(keys["sub-005"]) / "index.html"
    damaged.chmod(0o600)
    damaged.write_text("half a page")
    assert kept(found, store) == keys
    again = {key for key, inode in made.items() if store.path(key).stat().st_ino != inode}
    assert again == {keys["sub-005"]} and "is damaged; it is replaced" in caplog.text


def test_a_subject_is_explained_again_where_what_it_shows_has_changed(project, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_module, "write_explanation", lambda found, name, folder: (folder / name).touch())
    store, found = Store(tmp_path / "store"), explainer(project)
    keys = kept(found, store)
    # who joins without a label changes nobody's
    joined = CheckedSubject(participant_id="sub-099", label=None, scans={"dose": "b"})
    more = CheckedCohort.of("data", [*found.cohort.subjects, joined])
    assert kept(dataclasses.replace(found, cohort=more), store) == keys
    assert kept(explainer(project, fill="brain_mean"), store).keys() == keys.keys()
    assert not {*kept(explainer(project, fill="brain_mean"), store).values()} & {*keys.values()}
    volume = project / "work/preprocessed/sub-001/dose.npy"
    content = volume.read_bytes()
    volume.write_bytes(content[:-2] + b"ab")
    after = kept(found, store)
    volume.write_bytes(content)
    assert (after["sub-001"] != keys["sub-001"], after["sub-005"]) == (True, keys["sub-005"])
    # recalibrated by the other fold's held-out subjects: fold 0's answers show on pages of fold 1
    path = project / "work/training/event+dose/fold-0/predictions.tsv"
    table = path.read_text()
    rows = read_predictions(path)
    changed = [dataclasses.replace(row, p_rice=1 - row.p_rice) for row in rows]
    write_predictions(changed, path)
    recalibrated = kept(explainer(project), store)
    path.write_text(table)
    of_fold = {subject: held_out_folds(found.splits, subject) for subject in keys}
    assert {s for s in keys if recalibrated[s] != keys[s]} == {s for s in keys if of_fold[s] == [1]}


def test_who_cannot_be_explained_is_named_and_the_others_are_kept(project, tmp_path):
    write_preprocessed(project, "sub-003")
    write_raw_dose(project, project / "data", "sub-003")
    (project / "work/preprocessed/sub-003/event.npy").write_bytes(b"no array")
    found, store = explainer(project, each_modality=False), Store(tmp_path / "store")
    with pytest.raises(CohortError, match=r"(?s)explain: 1 of 2 .*sub-003 by event\+dose: sub-003: event"):
        kept(found, store, ("sub-003", "sub-005"))
    assert len(list((tmp_path / "store").rglob("summary.json"))) == 1


def test_an_ensemble_of_other_splits_is_refused(project):
    with pytest.raises(ResultError, match=r"event\+dose: trained with splits 000000000000, but splits\.json"):
        explainer(project, ensemble=small_ensemble("0" * 64))


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        (["sub-005", "sub-77"], r"not preprocessed: sub-77; .* has sub-001 to sub-010"),
        (["sub-001", "sub-005"], r"sub-001: without a volume that event\+dose needs"),
        (["sub-009"], "of the independent test set: sub-009; explaining shows"),
    ],
)
def test_who_cannot_be_explained_is_refused(project, subjects, words):
    found = explainer(project, lacks={("sub-001", "dose")})
    with pytest.raises(ResultError, match=words):
        found.require_explainable(subjects, voted=False)
    found.require_explainable(["sub-009"], voted=True)


@pytest.mark.parametrize("arguments", [[], ["sub-001", "--cohort"]])
def test_the_command_wants_subjects_or_the_cohort(arguments):
    result = CliRunner().invoke(app, ["explain", *arguments])
    assert result.exit_code == 2
    assert "name subjects, or give --cohort for all" in " ".join(result.output.replace("│", " ").split())
