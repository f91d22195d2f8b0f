"""The stage `guard`: a clean cohort passes, a leak stops the pipeline unless it is tolerated."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from guarded_cohorts import guards_of, overwrite_channel, write_checked, write_volumes
from preprocessed_subjects import image_of
from ruamel.yaml import YAML

from ricenet.runtime.errors import CohortError, GuardError, ResultError
from ricenet.runtime.files import read_json
from ricenet.screening.guards.result import GuardResult, read_guards, write_guards

PROJECT = Path(__file__).parents[1]

PASSED = GuardResult(name="same_image", outcome="passed", found="all differ")
WARNING = GuardResult(name="similar_image", outcome="warning", found="two resemble", remedy="Look.")
FAILED = GuardResult(
    name="label_leakage", outcome="failed", found="column site", remedy="Correct it.", subjects=("sub-002",)
)


def copied(guarded: Path, project: Path) -> Path:
    return Path(shutil.copytree(guarded, project / "copy"))


def run_stage(project: Path, monkeypatch: pytest.MonkeyPatch, **guards: Any) -> None:
    yaml = YAML(typ="safe")
    params = yaml.load(PROJECT / "params.yaml")
    params["cohort"]["root"] = "data"
    params["execution"] = {**params["execution"], "backend": "serial", "workers": 1, "threads_per_worker": 1}
    params["guards"] |= guards
    yaml.dump(params, project / "params.yaml")
    monkeypatch.chdir(project)
    write_checked(project)
    runpy.run_path(str(PROJECT / "src/stages/guard.py"))["main"]()


def test_every_guard_passes_on_a_clean_cohort(guarded: Path) -> None:
    assert {name: result.outcome for name, result in guards_of(guarded).items()} == {
        "subject_in_two_places": "passed",
        "same_image": "passed",
        "similar_image": "passed",
        "label_leakage": "passed",
        "site_shortcut": "not applicable",
        "foreign_normalisation": "passed",
    }


def test_the_stage_keeps_what_it_found_and_reads_nothing_twice(
    guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied(guarded, tmp_path)
    run_stage(project, monkeypatch)
    assert read_json(project / "work/guards/verdict.json") == {"failed": [], "tolerated": []}
    first = read_guards(project / "work/guards/guards.json")
    assert [result.outcome for result in first if result.name != "site_shortcut"] == ["passed"] * 5

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("ricenet.cohort.raw_record.examine", refuse)
    monkeypatch.setattr("ricenet.screening.guards.input_fingerprint.fingerprint", refuse)
    run_stage(project, monkeypatch)
    assert read_guards(project / "work/guards/guards.json") == first


def test_a_leak_stops_the_stage_after_it_was_written_down(
    guarded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = copied(guarded, tmp_path)
    volumes = project / "work/preprocessed/sub-003/post_op.npy"
    overwrite_channel(project, "sub-003", 0, read_channel(volumes) * 1.1)
    with pytest.raises(GuardError, match=r"(?s)1 guard\(s\).*foreign_normalisation.*sub-003.*work/preproc"):
        run_stage(project, monkeypatch)
    by_name = {result.name: result for result in read_guards(project / "work/guards/guards.json")}
    assert by_name["foreign_normalisation"].outcome == "failed"
    assert read_json(project / "work/guards/verdict.json")["failed"] == ["foreign_normalisation"]
    run_stage(project, monkeypatch, tolerated=["foreign_normalisation"])
    verdict = {"failed": [], "tolerated": ["foreign_normalisation"]}
    assert read_json(project / "work/guards/verdict.json") == verdict


def read_channel(path: Path) -> Any:
    import numpy as np

    return np.load(path).astype(np.float32)


def test_every_failed_guard_is_listed_and_warnings_do_not_stop(tmp_path: Path) -> None:
    files = tmp_path / "guards.json", tmp_path / "verdict.json"
    write_guards([PASSED, WARNING], [], *files)
    assert read_guards(files[0]) == (PASSED, WARNING)
    other = FAILED.model_copy(update={"name": "same_image", "found": "sub-001 = sub-004"})
    with pytest.raises(GuardError, match=r"(?s)2 guard\(s\).*column site \(sub-002\)\. Correct.*sub-001 ="):
        write_guards([FAILED, other], [], *files)
    assert read_guards(files[0]) == (FAILED, other)


def test_the_verdict_changes_only_with_what_may_be_trained_on(tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    write_guards([PASSED, WARNING], [], tmp_path / "guards.json", verdict)
    before = verdict.read_bytes()
    write_guards([PASSED], ["same_image"], tmp_path / "guards.json", verdict)
    assert verdict.read_bytes() == before


def test_of_many_subjects_the_first_are_named() -> None:
    subjects = tuple(f"sub-{index:03d}" for index in range(25))
    line = str(FAILED.model_copy(update={"subjects": subjects}))
    assert "sub-019 and 5 more" in line
    assert "sub-020" not in line


@pytest.mark.parametrize("content", ['{"guards": [{"name": 3}]}', "no JSON"])
def test_a_file_that_holds_no_guards_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "guards.json").write_text(content)
    with pytest.raises(ResultError, match=r"guards.json is not of this version.*dvc repro -f guard"):
        read_guards(tmp_path / "guards.json")
    with pytest.raises(ResultError, match="stage `guard` makes it"):
        read_guards(tmp_path / "other.json")


def test_subjects_that_cannot_be_read_are_all_named(guarded: Path, tmp_path: Path) -> None:
    project = copied(guarded, tmp_path)
    for subject in ("sub-004", "sub-006"):
        (project / "work/preprocessed" / subject / "dose.npy").write_bytes(b"no array")
    with pytest.raises(CohortError, match=r"(?s)preprocessed volumes: 2 of 24 .*sub-004: .*sub-006: "):
        guards_of(project)


def test_a_missing_preprocessed_file_names_the_stage(guarded: Path, tmp_path: Path) -> None:
    project = copied(guarded, tmp_path)
    image_of(project / "work/preprocessed/sub-004", "dose").unlink()
    with pytest.raises(ResultError, match=r"dose.nii.gz is missing. The stage `preprocess`"):
        guards_of(project)


def test_volumes_of_another_shape_than_the_brain_are_refused(guarded: Path, tmp_path: Path) -> None:
    import numpy as np

    project = copied(guarded, tmp_path)
    write_volumes(project, "sub-002")
    np.save(project / "work/preprocessed/sub-002/event.npy", np.zeros((4, 4, 4), np.float16))
    with pytest.raises(
        CohortError,
        match=r"sub-002: event.npy: shape \(4, 4, 4\) of float16, expected \(20, 20, 20\)",
    ):
        guards_of(project)
