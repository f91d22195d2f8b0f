"""`predict --dicom-out --store` and `send`: results beside the answer and in the PACS, or why not."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from case_results import can_print
from cohorts import write_tiny_subject
from dicom_trees import TinyExport, edit, write_tiny_export
from orthanc_server import Orthanc
from predicting_project import SMALL, TINY, replace_tools, write_trained
from scripted_pacs import Answer, scripted_pacs
from tracked_project import PREFIX, make_project, store_of, write_gate
from tracking_servers import free_port
from typer.testing import CliRunner, Result

from ricenet.cli import app
from ricenet.cohort.layout import RawSubject
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import make_champion, promotable_version
from ricenet.vocabulary import PAPER_VOLUMES

PRINTS = can_print()
PAGES = ["page.dcm"] if PRINTS else []
FILES = ["brain.dcm", "map-dose.dcm", "map-post_op.dcm", "map-together.dcm", *PAGES, "report.dcm"]
printed = pytest.mark.skipif(not PRINTS, reason="WeasyPrint cannot be used here")
SECRETS = ("ANON-17", "Sibylle", "19570917", "2.25.", "1.2.826")


@dataclass(frozen=True)
class Predicted:
    """What one `predict --dicom-out` left: its project, the export, the folder of results, what it said."""

    project: Path
    export: TinyExport
    folder: Path
    answer: dict[str, Any]
    stderr: str

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def folders(export: TinyExport) -> list[object]:
    post_op, event = export.post_op_files[0].parent, export.event_files[0].parent
    return ["--post-op", post_op, "--event", event, "--dose", export.dose_file.parent]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predicted]:
    folder = tmp_path_factory.mktemp("predicted")
    project, export = make_project(folder / "project"), write_tiny_export(folder / "export")
    shutil.rmtree(project / "models/ensembles/dose")
    write_trained(project, SMALL, TINY.model_copy(update={"spacing_mm": 20.0}))
    write_gate(project, SMALL)
    register_ensembles(project, store_of(project), PREFIX)
    make_champion(store_of(project), promotable_version(store_of(project), PREFIX, SMALL))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        replace_tools(patched)
        outcome = run("predict", *folders(export), "--dicom-out", folder / "results")
        assert outcome.exit_code == 0, outcome.stderr
        (made,) = (folder / "results").iterdir()
        yield Predicted(project, export, made, json.loads(outcome.stdout), outcome.stderr)


@pytest.fixture
def without_weasyprint(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *rest: Any, **further: Any) -> Any:
        if name == "weasyprint":
            raise ImportError("No module named 'weasyprint'")
        return real(name, *rest, **further)

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(builtins, "__import__", guarded)


# --- what predict leaves ---


def test_results_lie_beside_the_answer_and_say_the_same(predicted: Predicted) -> None:
    answer = predicted.answer
    assert answer["dicom"] == {"folder": predicted.folder.name, "files": FILES}
    assert [file.name for file in predicted.files] == FILES
    report = pydicom.dcmread(predicted.folder / "report.dcm")
    texts = {element.value for element in report.iterall() if element.keyword == "TextValue"}
    assert {answer[name] for name in ("three_way_why", "model", "notice")} <= texts
    assert {f"SHA-256 {answer['digest']}", *answer["warnings"]} <= texts
    # the files are their owner's alone
    assert {file.stat().st_mode & 0o077 for file in predicted.files} == {0}


def test_the_map_lies_on_the_cube_and_the_brain_on_the_scan(predicted: Predicted) -> None:
    occlusion, brain = (pydicom.dcmread(predicted.folder / f"{n}.dcm") for n in ("map-together", "brain"))
    assert (occlusion.NumberOfFrames, occlusion.Rows, occlusion.Columns) == (8, 8, 8)
    assert np.frombuffer(occlusion.FloatPixelData, np.float32).any()
    # around the blob the scan is flat, as one without its skull
    mask = predicted.export.post_op.data > 12
    frames = brain.pixel_array.astype(bool)
    positions = [
        float(groups.PlanePositionSequence[0].ImagePositionPatient[2])
        for groups in brain.PerFrameFunctionalGroupsSequence
    ]
    assert (frames[np.argsort(positions)] == mask.transpose(2, 1, 0)).all()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_every_result_of_the_command_is_valid_dicom(predicted: Predicted) -> None:
    for file in predicted.files:
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr + said.stdout, f"{file.name}: {said.stderr}"


@printed
def test_the_page_is_a_pdf_that_names_nobody(predicted: Predicted) -> None:
    page = pydicom.dcmread(predicted.folder / "page.dcm")
    assert page.EncapsulatedDocument.startswith(b"%PDF-")
    assert not any(secret.encode() in page.EncapsulatedDocument for secret in SECRETS[:2])


def test_nothing_of_the_patient_is_said_or_names_a_file(predicted: Predicted) -> None:
    said = json.dumps(predicted.answer) + predicted.stderr + "".join(file.name for file in predicted.files)
    assert not [secret for secret in SECRETS if secret in said + predicted.folder.name]


def test_without_weasyprint_the_page_alone_is_left_out_and_that_is_said(
    predicted: Predicted, without_weasyprint: None, tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}/dicom-web"
    outcome = run("predict", *folders(predicted.export), "--dicom-out", tmp_path, "--store", away)
    assert "have no case page" in outcome.stderr and 'pip install "ricenet[pdf]"' in outcome.stderr
    # the PACS is away, which takes neither the answer nor the files back
    assert outcome.exit_code == 1 and "cannot be reached" in outcome.stderr
    assert "0 of 5 objects are stored, and all stay as files" in outcome.stderr
    answer = json.loads(outcome.stdout)
    assert answer["dicom"]["files"] == [name for name in FILES if name != "page.dcm"]
    for name in ("brain.dcm", "map-together.dcm"):
        first, again = (
            pydicom.dcmread(folder / name).SOPInstanceUID
            for folder in (predicted.folder, tmp_path / answer["dicom"]["folder"])
        )
        assert first == again


def test_a_case_of_nifti_files_is_refused_with_the_reason(predicted: Predicted, tmp_path: Path) -> None:
    write_tiny_subject(tmp_path, "sub-001")
    raw = RawSubject(tmp_path, "sub-001")
    volumes = [part for name in PAPER_VOLUMES.names for part in ("--volume", f"{name}={raw.scan(name)}")]
    outcome = run("predict", *volumes, "--dicom-out", tmp_path / "results")
    assert outcome.exit_code == 1 and "NIfTI files know none of these" in outcome.stderr
    assert outcome.stdout == "" and not (tmp_path / "results").exists()


def test_a_scan_that_cannot_carry_results_is_refused_before_the_work(
    predicted: Predicted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = write_tiny_export(tmp_path)
    for file in export.post_op_files:
        edit(file, StudyInstanceUID=None)
    monkeypatch.setattr("ricenet.preprocessing.preprocess_subject.preprocess", None)
    outcome = run("predict", *folders(export), "--dicom-out", tmp_path / "results")
    assert outcome.exit_code == 1 and "the reference MRI has no StudyInstanceUID" in outcome.stderr


def test_a_place_for_results_that_is_none_is_refused_before_the_work(
    predicted: Predicted, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    outcome = run("predict", *folders(predicted.export), "--dicom-out", tmp_path / "taken" / "results")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert outcome.stderr == "error: taken: is a file. Name a folder for the results with --dicom-out\n"


def test_a_cube_larger_than_what_the_networks_see_is_refused_before_the_work(
    predicted: Predicted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ricenet.preprocessing.preprocess_subject.preprocess", None)
    params = predicted.project / "params.yaml"
    before = params.read_text()
    try:
        params.write_text(before.replace("  cube_voxels: 6\n", "  cube_voxels: 9\n"))
        outcome = run("predict", *folders(predicted.export), "--dicom-out", tmp_path)
    finally:
        params.write_text(before)
    assert outcome.exit_code == 1 and "explain.cube_voxels: 9 is larger" in outcome.stderr


def test_an_unforeseen_error_repeats_nothing_of_the_headers(
    predicted: Predicted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_weasyprint: None
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(" ".join(SECRETS))

    monkeypatch.setattr("ricenet.dicom_results.case_results.report_document", fail)
    outcome = run("predict", *folders(predicted.export), "--dicom-out", tmp_path)
    assert outcome.exit_code == 1 and "an unforeseen ValueError" in outcome.stderr
    assert not [secret for secret in SECRETS if secret in outcome.stderr]


def test_what_is_stored_has_to_stay_as_files(predicted: Predicted) -> None:
    outcome = run("predict", *folders(predicted.export), "--store", "http://127.0.0.1:1/dicom-web")
    assert outcome.exit_code == 2 and "--store needs --dicom-out" in outcome.stderr


# --- into the PACS ---


def stored(orthanc: Orthanc) -> dict[str, bytes]:
    """Files in the PACS by SOP instance UID."""
    import urllib.request

    found = {}
    for instance in orthanc.ask("/instances"):
        uid = orthanc.ask(f"/instances/{instance}/simplified-tags")["SOPInstanceUID"]
        with urllib.request.urlopen(f"{orthanc.url}/instances/{instance}/file") as answer:
            found[uid] = answer.read()
    return found


def test_what_is_stored_comes_back_equal_and_a_second_try_doubles_nothing(
    predicted: Predicted, orthanc: Orthanc, tmp_path: Path
) -> None:
    for _ in range(2):
        outcome = run("send", predicted.folder, orthanc.dicomweb)
        assert outcome.exit_code == 0 and f"{len(FILES)} object(s) are stored" in outcome.stderr
        found = stored(orthanc)
        assert len(found) == len(FILES)
    for file in predicted.files:
        sent = pydicom.dcmread(file)
        (tmp_path / "back.dcm").write_bytes(found[sent.SOPInstanceUID])
        assert pydicom.dcmread(tmp_path / "back.dcm") == sent


def test_a_pacs_that_asks_for_a_password_gets_it_from_the_environment(
    predicted: Predicted, closed_orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("RICENET_PACS_")]:
        monkeypatch.delenv(name)
    outcome = run("send", predicted.folder, closed_orthanc.dicomweb)
    assert outcome.exit_code == 1 and "refuses the user name, password or token (401)" in outcome.stderr
    assert f"0 of {len(FILES)} objects are stored" in outcome.stderr
    for name, value in closed_orthanc.credentials.items():
        monkeypatch.setenv(name, value)
    assert run("send", predicted.folder, closed_orthanc.dicomweb).exit_code == 0


def failed(reason: int, status: int = 409) -> Answer:
    """What a PACS says of the one object that it does not store (PS3.18, 10.5.3)."""
    item = {"00081155": {"vr": "UI", "Value": ["1.2.826"]}, "00081197": {"vr": "US", "Value": [reason]}}
    return Answer(status, json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(413), "too large (413)"),
        (Answer(403), "does not permit"),
        (failed(0xA700), "is out of resources, such as disk (failure reason A700)"),
        (failed(0x0122, 202), "takes no objects of this kind (SOP class) (failure reason 0122)"),
        (failed(0xC123), "cannot understand it (failure reason C123)"),
        (failed(0x0124, 200), "does not permit that to this user (failure reason 0124)"),
        (failed(0x9999), "refuses it (failure reason 9999)"),
        (Answer(409, b"[{]"), "an error (409)"),
        (Answer(200, b"<html>", "text/html"), "a web page"),
    ],
)
def test_a_refusal_says_which_object_why_and_what_now(
    predicted: Predicted, answer: Answer, said: str
) -> None:
    with scripted_pacs(answer) as pacs:
        outcome = run("send", predicted.folder, pacs.url)
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith("error: brain.dcm: ") and said in outcome.stderr
    assert f"0 of {len(FILES)} objects are stored, and all stay as files" in outcome.stderr
    assert not [secret for secret in SECRETS if secret in outcome.stderr]
    assert [file.name for file in predicted.files] == FILES


@pytest.mark.parametrize("status", [200, 202, 409])
def test_an_object_that_the_pacs_has_already_is_stored(predicted: Predicted, status: int) -> None:
    with scripted_pacs(failed(0x0111, status)) as pacs:
        assert run("send", predicted.folder, pacs.url).exit_code == 0
        assert len(pacs.asked) == len(FILES)


def test_what_is_sent_is_what_lies_in_the_folder_and_the_report_comes_last(predicted: Predicted) -> None:
    with scripted_pacs(Answer(200)) as pacs:
        assert run("send", predicted.folder, pacs.url).exit_code == 0
        sent = zip(predicted.files, pacs.asked, strict=True)
        assert all(file.read_bytes() in asked.content for file, asked in sent)
    assert predicted.files[-1].name == "report.dcm"


@printed
def test_a_large_object_is_sent_with_its_length(predicted: Predicted, tmp_path: Path) -> None:
    page = pydicom.dcmread(predicted.folder / "page.dcm")
    page.EncapsulatedDocument += bytes(10**6)
    page.save_as(tmp_path / "page.dcm")
    with scripted_pacs(Answer(503, headers={"Retry-After": "0"}), Answer(200)) as pacs:
        assert run("send", tmp_path, pacs.url).exit_code == 0
        first, again = pacs.asked
    assert int(first.headers["Content-Length"]) > 10**6 and first.content == again.content


def test_a_try_that_breaks_off_says_how_much_is_stored(predicted: Predicted) -> None:
    with scripted_pacs(Answer(200), Answer(200), Answer(507)) as pacs:
        outcome = run("send", predicted.folder, pacs.url)
    assert (
        "error: map-post_op.dcm" in outcome.stderr
        and f"2 of {len(FILES)} objects are stored" in outcome.stderr
    )


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    outcome = run("send", tmp_path, "http://127.0.0.1:1/dicom-web")
    assert outcome.exit_code == 1 and "no DICOM file (.dcm) lies in the folder" in outcome.stderr
