"""`ricenet export bundle`: MONAI alone answers as ricenet does, by the bundle's own config."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from exported_bundles import (
    KINDS,
    SUBJECTS,
    THRESHOLD,
    Bundled,
    our_p_rice,
    without_ricenet,
    write_bundled,
    write_subjects,
)
from monai.bundle import ConfigParser
from small_ensembles import NARROW, ensemble_record

from ricenet.bundle.inference_config import TABLE, table_columns
from ricenet.bundle.metadata import Exported, metadata
from ricenet.bundle.read_me import data_license, readme
from ricenet.bundle.write_bundle import write_bundle
from ricenet.config.network_params import SmallCnnParams
from ricenet.evaluation.evidence.calibration import recalibrated
from ricenet.inference.test_vote import votes_for_rice
from ricenet.preprocessing.derivative_files import image_file
from ricenet.preprocessing.network_input import read_volumes
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import file_digest
from ricenet.training.ensemble import majority_vote
from ricenet.training.fusion import FusedFold
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Grid, Volume, save_nifti

BY_PARTS = """
import hashlib
import json
import pathlib
try:
    import ricenet
    raise SystemExit("ricenet is not blocked")
except ImportError:
    pass
import torch
from monai.bundle import ConfigParser, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties
root, subjects, *kinds = sys.argv[1:]
found = {}
for kind in kinds:
    folder = pathlib.Path(root) / kind
    config, meta = str(folder / "configs/inference.json"), str(folder / "configs/metadata.json")
    verify_net_in_out("network_def", meta, config, device="cpu", bundle_root=str(folder))
    parser = ConfigParser()
    parser.read_config(config)
    parser.read_meta(meta)
    lacking = [name for name, known in {**InferProperties, **MetaProperties}.items()
               if known["required"] and known["id"] not in parser]
    assert not lacking, lacking
    parser.update({"bundle_root": str(folder), "dataset_dir": subjects, "device": "cpu"})
    get = parser.get_parsed_content
    network, inferer, after = get("network"), get("inferer"), get("postprocessing")
    for item in get("dataset"):
        with torch.no_grad():
            answer = after({"pred": inferer(item["image"][None], network)[0]})["answer"].tolist()
        seen = hashlib.sha256(item["image"].numpy().tobytes()).hexdigest()
        found.setdefault(kind, {})[item["subject"]] = {"answer": answer, "seen": seen}
print(json.dumps(found))
"""
"""Data, network, inferer and postprocessing of a config, without the engine that needs pytorch-ignite."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundles")
    write_subjects(made / "subjects")
    return made


@pytest.fixture(scope="module")
def bundles(folder: Path) -> dict[str, Bundled]:
    return {kind: write_bundled(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def answers(folder: Path, bundles: dict[str, Bundled]) -> Any:
    return without_ricenet(BY_PARTS, str(folder), str(folder / "subjects"), *bundles, cwd=folder)


def answer_of(answers: Any, kind: str) -> np.ndarray:
    """The rows of the table, (subjects, columns)."""
    assert list(answers[kind]) == list(SUBJECTS)
    return np.array([answers[kind][subject]["answer"] for subject in SUBJECTS])


@pytest.mark.parametrize("kind", KINDS)
def test_monai_alone_answers_as_the_folds_do(
    folder: Path, bundles: dict[str, Bundled], answers: Any, kind: str
) -> None:
    ours = our_p_rice(bundles[kind], folder / "subjects")
    # answers that hardly differ would show nothing
    assert np.ptp(ours) > 0.01
    np.testing.assert_allclose(answer_of(answers, kind)[:, : ours.shape[1]], ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_networks_see_the_same_bits(
    folder: Path, bundles: dict[str, Bundled], answers: Any, kind: str
) -> None:
    record = bundles[kind].exported.record
    names = [spec.name for spec in record.members]
    for subject in SUBJECTS:
        ours = read_volumes(folder / "subjects" / subject, subject, names, record.grid).astype(np.float32)
        assert answers[kind][subject]["seen"] == hashlib.sha256(ours.tobytes()).hexdigest()


@pytest.mark.parametrize("kind", ["head", "crop"])
def test_the_table_holds_mean_votes_majority_and_calibrated_mean(
    bundles: dict[str, Bundled], answers: Any, kind: str
) -> None:
    folds = bundles[kind].exported.record.folds
    table = dict(zip(table_columns(folds, recalibrated=True), answer_of(answers, kind).T, strict=True))
    p = np.stack([table[f"fold_{k}"] for k in range(folds)], axis=1)
    np.testing.assert_allclose(table["p_rice"], p.mean(axis=1), atol=1e-12)
    assert table["votes_rice"].tolist() == votes_for_rice(p).tolist()
    assert table["majority_rice"].tolist() == majority_vote(p).tolist()
    expected = recalibrated(p, THRESHOLD.recalibration).mean(axis=1)
    np.testing.assert_allclose(table["p_rice_calibrated"], expected, atol=1e-12)


@pytest.mark.parametrize(
    "p", [[0.9, 0.4, 0.4], [0.6, 0.6, 0.1], [0.9, 0.4, 0.4, 0.6], [0.6, 0.1, 0.1, 0.6], [0.5]], ids=str
)
def test_the_vote_is_ours_ties_included(bundles: dict[str, Bundled], p: list[float]) -> None:
    config = json.loads((bundles["head"].folder / "configs/inference.json").read_text())
    parser = ConfigParser({name: config[name] for name in ("votes", "majority")})
    majority = parser.get_parsed_content("majority")
    assert bool(majority(torch.tensor(p))) == majority_vote(np.array([p])).item()


def test_without_evidence_nothing_is_calibrated(bundles: dict[str, Bundled], answers: Any) -> None:
    assert answer_of(answers, "brain").shape == (3, len(table_columns(1, recalibrated=False)))
    assert "p_rice_calibrated" not in (bundles["brain"].folder / "docs/README.md").read_text()


RUN = """
import runpy
sys.argv = ["monai.bundle", *sys.argv[1:]]
try:
    runpy.run_module("monai.bundle", run_name="__main__")
finally:
    print(__import__("json").dumps(None))
"""


def test_the_command_writes_the_table(folder: Path, bundles: dict[str, Bundled], answers: Any) -> None:
    pytest.importorskip("fire")
    pytest.importorskip("ignite")
    command = ["run", "--config_file", "configs/inference.json", "--dataset_dir", str(folder / "subjects")]
    without_ricenet(RUN, *command, "--output_dir", str(folder / "out"), cwd=bundles["crop"].folder)
    with (folder / "out" / TABLE).open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["subject", *table_columns(3, recalibrated=True)]
    assert [row[0] for row in rows] == list(SUBJECTS)
    np.testing.assert_allclose(
        np.array([row[1:] for row in rows], np.float64), answer_of(answers, "crop"), atol=1e-7
    )


def dataset_of(bundled: Bundled, subjects: Path) -> Any:
    parser = ConfigParser()
    parser.read_config(bundled.folder / "configs/inference.json")
    parser.update({"bundle_root": str(bundled.folder), "dataset_dir": str(subjects)})
    return parser.get_parsed_content("dataset")


def messages(error: BaseException) -> str:
    """Of an error and those that it came from; MONAI names the transform first."""
    return str(error) + (messages(error.__cause__) if error.__cause__ else "")


@pytest.mark.parametrize("grid", [Grid.cube(np.zeros(3), 6.0, 16), Grid.cube(np.zeros(3), 5.0, 32)], ids=str)
def test_volumes_on_another_grid_stop_the_run(
    bundles: dict[str, Bundled], tmp_path: Path, grid: Grid
) -> None:
    dose = tmp_path / "sub-001" / image_file("sub-001", PAPER_VOLUMES["dose"])
    dose.parent.mkdir(parents=True)
    save_nifti(Volume(np.ones(grid.shape, np.float32), grid), dose)
    with pytest.raises(RuntimeError) as stopped:
        dataset_of(bundles["brain"], tmp_path)[0]
    assert "volumes on another grid; expected 32 voxels of 6 mm" in messages(stopped.value)


def test_a_subject_without_a_volume_stops_the_run(bundles: dict[str, Bundled], tmp_path: Path) -> None:
    (tmp_path / "sub-001").mkdir()
    with pytest.raises(RuntimeError) as stopped:
        dataset_of(bundles["brain"], tmp_path)[0]
    assert image_file("sub-001", PAPER_VOLUMES["dose"]) in messages(stopped.value)


def test_a_folder_without_subjects_stops_the_run(bundles: dict[str, Bundled], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as stopped:
        dataset_of(bundles["brain"], tmp_path)
    assert "no folder sub-* in dataset_dir" in messages(stopped.value)


def test_weights_are_those_of_the_ensemble_and_nothing_is_a_pickle(bundles: dict[str, Bundled]) -> None:
    for bundled in bundles.values():
        weights = sorted((bundled.folder / "models").iterdir())
        assert [path.name for path in weights] == [
            f"fold-{k}.safetensors" for k in range(bundled.exported.record.folds)
        ]
        assert all(path.read_bytes() == (bundled.files / path.name).read_bytes() for path in weights)


def test_the_same_ensemble_gives_the_same_bytes(bundles: dict[str, Bundled], tmp_path: Path) -> None:
    first = bundles["head"]
    write_bundle(tmp_path / "again", first.files, first.exported)
    assert file_digests(tmp_path / "again") == file_digests(first.folder)


def file_digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()}


TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {
        "num_channels": {"type": "integer"},
        "spatial_shape": {"items": {"type": ["string", "integer"]}},
        "value_range": {"type": "array", "items": {"type": "number"}},
        "is_patch_data": {"type": "boolean"},
        "channel_def": {"type": "object"},
    },
}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description")
TEXTS += ("authors", "copyright", "name", "data_source", "data_type", "image_classes", "pred_classes")
TEXTS += ("intended_use",)
OBJECTS = ("required_packages_version", "network_data_format", "changelog", "eval_metrics", "supported_apps")
METADATA = {
    "type": "object",
    "required": [*TEXTS, *OBJECTS, "references"],
    "properties": {
        **{name: {"type": "string", "minLength": 1} for name in TEXTS},
        **{name: {"type": "object"} for name in OBJECTS},
        "references": {"type": "array", "items": {"type": "string"}},
        "network_data_format": {
            "required": ["inputs", "outputs"],
            "properties": {
                name: {"additionalProperties": TENSOR}
                for name in ("inputs", "outputs", "post_processed_outputs")
            },
        },
    },
}
"""What MONAI's metadata schema of 2024-07-25 requires, said anew, and what is always there besides."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_metadata_have_what_monais_schema_requires(bundles: dict[str, Bundled], kind: str) -> None:
    content = json.loads((bundles[kind].folder / "configs/metadata.json").read_text())
    jsonschema.validate(content, METADATA)
    del content["network_data_format"]["inputs"]["image"]["dtype"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, METADATA)


def image_of(bundled: Bundled) -> Any:
    return metadata(bundled.exported)["network_data_format"]["inputs"]["image"]


def test_channels_are_the_volumes_in_the_networks_units(bundles: dict[str, Bundled]) -> None:
    image = image_of(bundles["head"])
    assert (image["num_channels"], image["spatial_shape"]) == (2, [32, 32, 32])
    assert image["channel_def"]["0"].startswith("post-op T1ce: distance from the brain's mean in SDs")
    assert image["channel_def"]["1"] == "dose: the whole course's dose in units of 60 Gy"


def test_a_box_and_a_crop_are_a_part_of_the_head(bundles: dict[str, Bundled]) -> None:
    shapes = {kind: image_of(bundled)["spatial_shape"] for kind, bundled in bundles.items()}
    assert shapes == {"head": [32, 32, 32], "crop": [16, 16, 16], "brain": [30, 32, 30]}
    assert [image_of(bundles[kind])["is_patch_data"] for kind in KINDS] == [False, True, True]


def test_a_dose_has_bounds_and_an_mri_has_none(bundles: dict[str, Bundled]) -> None:
    # 150 Gy, the most that a course may have, in units of 60 Gy
    assert image_of(bundles["brain"])["value_range"] == [0.0, 2.5]
    assert image_of(bundles["head"])["value_range"] == []


@pytest.mark.parametrize(
    ("synthetic", "readme_says", "license_says"),
    [
        (True, "says nothing about patients", "ICBM 152"),
        (False, "a cohort of patients", "ask before you do"),
        (None, "was not at hand", "ask before you do"),
    ],
)
def test_the_texts_say_on_what_it_was_trained(
    bundles: dict[str, Bundled], synthetic: bool | None, readme_says: str, license_says: str
) -> None:
    exported = replace(bundles["head"].exported, synthetic=synthetic)
    assert readme_says in readme(exported) and "Research use only" in readme(exported)
    assert license_says in data_license(exported)


FUSED = FusedFold.model_construct(network_weight=0.5, regression_weight=0.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": SmallCnnParams()}, "its network small_cnn is ricenet's own"),
        ({"network": NARROW.model_copy(update={"norm": "group"})}, "its group norm is put into"),
        (
            {"network": NARROW.model_copy(update={"channel_dropout": 0.5})},
            "what says which of its volumes are missing is ricenet's own (channel_dropout)",
        ),
        ({"fused": (FUSED, FUSED)}, "a regression of ricenet answers beside each network (fusion)"),
    ],
)
def test_what_needs_ricenet_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    record = ensemble_record("dose").model_copy(update=changes)
    with pytest.raises(RegistryError, match=f"version 1 is no MONAI bundle.*{re.escape(reason)}"):
        write_bundle(tmp_path / "new", tmp_path, Exported("rice-net-dose", "1", record))
    assert not (tmp_path / "new").exists()


def test_other_weights_than_those_registered_are_refused(bundles: dict[str, Bundled], tmp_path: Path) -> None:
    files = shutil.copytree(bundles["head"].files, tmp_path / "files")
    shutil.copyfile(files / "fold-0.safetensors", files / "fold-1.safetensors")
    with pytest.raises(RegistryError, match="its weights are not those that were registered"):
        write_bundle(tmp_path / "new", files, bundles["head"].exported)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("in_use", ["file", "folder"])
def test_a_folder_in_use_stays_as_it_is(bundles: dict[str, Bundled], tmp_path: Path, in_use: str) -> None:
    place = tmp_path / "place"
    (place if in_use == "file" else write_folder(place) / "mine").write_text("precious")
    before = file_digests(tmp_path)
    with pytest.raises(ResultError, match="is not an empty folder"):
        write_bundle(place, bundles["head"].files, bundles["head"].exported)
    assert file_digests(tmp_path) == before


def write_folder(path: Path) -> Path:
    path.mkdir()
    return path
