"""The service's API: what it answers, what it refuses, what it forgets, and what nobody gets to read."""

from __future__ import annotations

import gzip
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cohorts import change_voxels, one_voxel
from dicom_trees import write_tiny_export
from served_cases import (
    BREAKS,
    CHILD,
    DIES,
    ENDED,
    HANGS,
    PATIENT,
    SECRET,
    SLOW,
    Client,
    parts,
    served,
    tiny_files,
    until,
    work_of,
    write_ensemble,
    zipped,
)
from tracking_servers import wait_until

from ricenet.importing.dose.statement import DoseStatement
from ricenet.inference.case import CaseFiles
from ricenet.runtime.errors import RicenetError
from ricenet.service.case import Case
from ricenet.service.cases import FOLDER, Cases, open_cases
from ricenet.service.settings import TOKEN, ServiceSettings, token_of_environment

Service = tuple[Client, Cases]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ensemble(tmp_path_factory.mktemp("model") / "ensemble")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def running(project: Path, model: Path) -> Iterator[Service]:
    with served(project, model, waiting=2, upload_mb=2.0) as service:
        yield service


@pytest.fixture
def service(running: Service, caplog: pytest.LogCaptureFixture) -> Iterator[Service]:
    """The service, with its usual limits, and nothing in its log that identifies anybody."""
    client, cases = running
    usual = cases.settings
    caplog.set_level(logging.INFO, "ricenet")
    yield client, cases
    cases.settings = usual
    for secret in (PATIENT, CHILD, "age_years", "photon", SECRET, "ANON", "19570917", "2020"):
        assert secret not in caplog.text


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return tiny_files(tmp_path_factory.mktemp("files"))


def send(client: Client, files: dict[str, bytes], **fields: str) -> Any:
    return client.post(
        "/cases", files=parts(files), data={k.replace("__", "."): v for k, v in fields.items()}
    )


def accepted(client: Client, files: dict[str, bytes], **fields: str) -> str:
    answer = send(client, files, **fields)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"] == f"/cases/{answer.json()['id']}"
    return str(answer.json()["id"])


def predicted(client: Client, files: dict[str, bytes], **fields: str) -> dict[str, Any]:
    return until(client, accepted(client, files, **fields), ENDED)


def left(cases: Cases) -> set[str]:
    """Every file of every case."""
    return {path.relative_to(cases.folder).as_posix() for path in cases.folder.rglob("*") if path.is_file()}


# --- a case from its files to its page ---


def test_a_case_is_answered_as_the_command_predicts_it(
    service: Service, model: Path, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = service
    fields = {"variable__age_years": "55", "dose_of": "course", "fractions": "30", "prescription": "60"}
    answer = predicted(client, files, **fields)
    assert answer["state"] == "done", answer
    for name, content in files.items():
        (tmp_path / f"{name}.nii.gz").write_bytes(content)
    from ricenet.preprocessing import preprocess_subject
    from ricenet.preprocessing.brain import extraction

    # what the worker replaces is put back here
    monkeypatch.setattr(extraction, "extract_brain", extraction.extract_brain)
    monkeypatch.setattr(preprocess_subject, "register_rigid", preprocess_subject.register_rigid)
    work = work_of(model)
    work.load()
    given = CaseFiles(
        {name: tmp_path / f"{name}.nii.gz" for name in files},
        {"age_years": "55"},
        DoseStatement(None, "course", 30, 60.0),
    )
    expected = work.predictor.case(given).as_json()
    assert answer["prediction"] == {**work.origin, **expected}
    assert answer["prediction"]["notice"].startswith("Research use only")
    assert answer["prediction"]["three_way_why"]
    steps = ["checks of the files", "registration of event T1ce", "brain extraction"]
    assert list(answer["seconds"]) == [*steps, "resampling onto the cube", "vote of the folds"]
    assert answer["seconds_kept"] == pytest.approx(3600, abs=60)


def test_a_case_without_compression_or_in_nifti_2_is_predicted(
    service: Service, files: dict[str, bytes]
) -> None:
    client, _ = service
    plain = {name: gzip.decompress(content) for name, content in files.items()}
    second = {
        name: nib.nifti2.Nifti2Image.from_image(nib.nifti1.Nifti1Image.from_bytes(content)).to_bytes()
        for name, content in plain.items()
    }
    one, other, last = (predicted(client, kind) for kind in (files, plain, second))
    assert one["state"] == "done"
    assert one["prediction"] == other["prediction"] == last["prediction"]


def test_zipped_dicom_folders_reach_the_import(service: Service, tmp_path: Path) -> None:
    client, _ = service
    export = write_tiny_export(tmp_path)
    folders = {
        "post_op": export.post_op_files[0].parent,
        "event": export.event_files[0].parent,
        "dose": export.dose_file.parent,
    }
    sent = {name: zipped(folder) for name, folder in folders.items()}
    answer = predicted(client, sent, prescription="59")
    assert answer["state"] == "done", answer["problems"]
    assert answer["prediction"]["measurements"]["dose_factor"] == 1.0
    assert any("Prescription in Gy: 59" in text for text in answer["prediction"]["warnings"])
    text = str(answer)
    assert PATIENT not in text and "ANON" not in text and "1957" not in text and "2020" not in text
    # a slice is missing
    export.event_files[6].unlink()
    sent["event"] = zipped(folders["event"])
    refused = predicted(client, sent)
    assert refused["state"] == "refused" and "missing" in refused["problems"][0]
    assert "--" not in str(refused["problems"])


def test_the_page_of_the_occlusion_map_is_made_on_request(service: Service, files: dict[str, bytes]) -> None:
    from importlib import resources

    from ricenet.evaluation.occlusion.page.case_page import BUNDLE

    if not resources.files("ricenet.evaluation.occlusion.page").joinpath(BUNDLE).is_file():
        pytest.skip(f"{BUNDLE} is not built: run `make viewer`")
    client, cases = service
    case = predicted(client, files)
    url = f"/cases/{case['id']}/explanation"
    assert client.get(url).status_code == 409
    asked = client.post(url)
    cookie = asked.headers["set-cookie"]
    assert asked.status_code == 202
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"Path={url};" in cookie
    end = time.monotonic() + 60
    while (now := client.get(f"/cases/{case['id']}").json())["explanation"] in ("queued", "running"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert now["explanation"] == "done", now
    assert {name for name in left(cases) if name.startswith(case["id"])} == {f"{case['id']}/explanation.html"}
    page = client.get(url)
    assert "RICE-NET occlusion map" in page.text and PATIENT not in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'sha256-" in policy and "connect-src" not in policy
    # the cookie opens this page, and nothing else
    client.cookies.clear()
    key = {"Cookie": cookie.partition(";")[0], "Authorization": "none"}
    assert client.get(url, headers=key).status_code == 200
    assert client.post(url, headers=key).status_code == 401
    assert client.get(f"/cases/{case['id']}", headers=key).status_code == 401
    assert client.get(url, headers={**key, "Cookie": "ricenet_page=another"}).status_code == 401


# --- what is refused ---


def test_all_problems_of_the_files_are_told_by_the_names_of_volumes(
    service: Service, files: dict[str, bytes], tmp_path: Path
) -> None:
    client, cases = service
    spoilt = tmp_path / "dose.nii.gz"
    spoilt.write_bytes(files["dose"])
    change_voxels(spoilt, one_voxel(np.inf))
    sent = {**files, "event": b"no NIfTI", "dose": spoilt.read_bytes()}
    answer = predicted(client, sent)
    assert answer["state"] == "refused" and answer["prediction"] is None
    event, dose = answer["problems"]
    assert event.startswith("event (event.nii.gz): cannot be read")
    assert dose.startswith("dose (dose.nii.gz): 1 ")
    assert not [name for name in left(cases) if name.startswith(answer["id"])]


@pytest.mark.parametrize(
    ("drop", "add", "fields", "problems"),
    [
        (["event"], {}, {}, ["event: is missing, and this model needs it"]),
        (["event", "dose"], {}, {}, ["event: is missing", "dose: is missing"]),
        ([], {"flair": b"x"}, {}, ["flair: no volume of this model, whose volumes are post_op, event, dose"]),
        ([], {"Sibylle.nii": b"x"}, {}, ["a field of an unknown name: no volume of this model"]),
        ([], {}, {"variable__age_years": "old"}, ["variable.age_years: is no number"]),
        ([], {}, {"variable__rt_modality": "ion"}, ["variable.rt_modality: was not seen in training"]),
        ([], {}, {"variable__weight": "60"}, ["variable.weight: not a variable of this model"]),
        ([], {}, {"weight": "60"}, ["weight: no field of a case"]),
        ([], {}, {"fractions": "0"}, ["fractions: is no whole number from 1 to 1000"]),
        ([], {}, {"fractions": "3.5"}, ["fractions: is no whole number"]),
        ([], {}, {"prescription": "-1"}, ["prescription: is no positive number of Gy"]),
        ([], {}, {"prescription": "nan"}, ["prescription: is no positive number of Gy"]),
        ([], {}, {"dose_of": "all"}, ["dose_of: is neither course nor fraction"]),
        (["dose"], {}, {"fractions": "30"}, ["dose: is missing", "fractions: stated of a dose that is not"]),
        (["event"], {"event": b""}, {}, ["event: the file is empty"]),
        (["event"], {}, {"event": "text"}, ["event: no file was sent"]),
        (["post_op", "event", "dose"], {}, {}, ["post_op: is missing", "dose: is missing"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_told_at_once_and_nothing_is_kept(
    service: Service,
    files: dict[str, bytes],
    drop: list[str],
    add: dict[str, bytes],
    fields: dict[str, str],
    problems: list[str],
) -> None:
    client, cases = service
    before = left(cases)
    sent = {name: content for name, content in files.items() if name not in drop} | add
    # an empty part keeps the request a multipart one
    data = {k.replace("__", "."): v for k, v in fields.items()}
    answer = client.post("/cases", files=parts(sent) or [("", ("", b""))], data=data)
    assert answer.status_code == 422, answer.text
    found = answer.json()["problems"]
    for problem in problems:
        assert any(one.startswith(problem) for one in found), found
    assert "Sibylle" not in answer.text
    assert left(cases) == before and cases.waiting == 0


def test_two_files_for_one_volume_are_refused(service: Service, files: dict[str, bytes]) -> None:
    client, _ = service
    answer = client.post("/cases", files=[*parts(files), *parts({"event": files["event"]})])
    assert (answer.status_code, answer.json()["problems"]) == (422, ["event: given 2 times"])


def test_a_request_that_is_too_large_is_refused_announced_or_not(service: Service) -> None:
    client, cases = service
    big = {"post_op": bytes(3 * 2**20)}
    assert send(client, big).status_code == 413

    def chunks() -> Iterator[bytes]:
        head = '--b\r\nContent-Disposition: form-data; name="event"; filename="x"\r\n\r\n'
        yield head.encode()
        for _ in range(30):
            yield bytes(100_000)

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/cases", data=chunks(), headers=kind)
    assert answer.status_code == 413 and "larger than 2 MB" in answer.json()["detail"]
    assert cases.waiting == 0 and not [name for name in left(cases) if "uploads" in name]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"event=1", 415),
        ("multipart/form-data", b"", 400),
        ("multipart/form-data; boundary=b", b"rubbish", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n", 400),
        # cut within its first file
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="event"; filename="x"\r\n\r\nhalf',
            (400, 422),
        ),
    ],
)  # fmt: skip
def test_half_and_damaged_requests_leave_nothing(
    service: Service, kind: str, body: bytes, status: int | tuple[int, ...]
) -> None:
    client, cases = service
    before = left(cases)
    answer = client.post("/cases", data=body, headers={"Content-Type": kind})
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert left(cases) == before and cases.waiting == 0


def sent_in_part(client: Client, announced_bytes: int) -> socket.socket:
    """A connection on which a request for a case was begun, and stays so."""
    host, _, port = client.address.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = (
        f"POST /cases HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {SECRET}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {announced_bytes}\r\n\r\n"
        f'--b\r\nContent-Disposition: form-data; name="event"; filename="{PATIENT}"\r\n\r\nhalf'
    )
    connection.sendall(head.encode())
    return connection


def test_a_sender_who_hangs_up_leaves_neither_file_nor_place(service: Service) -> None:
    client, cases = service
    before = left(cases)
    connection = sent_in_part(client, 100_000)
    wait_until(lambda: cases.waiting == 1)
    connection.close()
    wait_until(lambda: cases.waiting == 0)
    assert left(cases) == before


def test_a_sender_who_stalls_is_told_and_loses_the_place(service: Service) -> None:
    client, cases = service
    cases.settings = cases.settings.model_copy(update={"upload_seconds": 0.3})
    with sent_in_part(client, 100_000) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    wait_until(lambda: cases.waiting == 0)


# --- who may ask ---


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong-token-of-tests", f"Basic {SECRET}", f"Bearer {SECRET}x"]
)
@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/model"), ("GET", "/openapi.json"), ("POST", "/cases"), ("GET", "/cases/x"),
    ("POST", "/cases/x/explanation"), ("GET", "/cases/x/explanation"),
])  # fmt: skip
def test_without_the_token_nothing_is_told(
    service: Service, method: str, path: str, given: str | None
) -> None:
    client, _ = service
    headers = {} if given is None else {"Authorization": given}
    stranger = client.stranger()
    answer = stranger.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_health_says_more_with_the_token(service: Service) -> None:
    client, _ = service
    stranger = client.stranger()
    assert stranger.get("/health").json() == {"status": "ok"}
    assert stranger.get("/health", headers={"Authorization": "Bearer no"}).status_code == 401
    found = client.get("/health").json()
    assert found == {"status": "ok", "model_loaded": True, "waiting": 0, "computing": False}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_refused(service: Service, host: str) -> None:
    client, _ = service
    assert client.get("/health", headers={"Host": host}).status_code == 400


def test_every_answer_forbids_what_a_browser_would_guess_keep_or_frame(service: Service) -> None:
    client, _ = service
    for path in ("/", "/health", "/model", "/nowhere", "/cases/unknown"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy and "server" not in headers


def test_a_case_that_is_not_known_is_404(service: Service) -> None:
    client, _ = service
    assert client.get("/cases/../../etc").status_code == 404
    assert client.get("/cases/unknown").json() == {"detail": "no such case; it may have expired"}
    assert client.post("/cases/unknown/explanation").status_code == 404


# --- limits ---


def test_a_case_beyond_its_time_is_stopped_and_the_next_one_is_predicted(
    service: Service, files: dict[str, bytes]
) -> None:
    client, cases = service
    pid = cases.worker.pid
    cases.settings = cases.settings.model_copy(update={"case_seconds": 0.5})
    answer = predicted(client, files, variable__age_years=HANGS)
    assert answer["state"] == "failed" and answer["error"] == "not finished within 0.5 s, and stopped"
    assert not [name for name in left(cases) if name.startswith(answer["id"])]
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)
    cases.settings = cases.settings.model_copy(update={"case_seconds": 60.0})
    assert predicted(client, files)["state"] == "done"


def test_a_dead_worker_fails_its_case_alone(service: Service, files: dict[str, bytes]) -> None:
    client, cases = service
    dying, next_one = accepted(client, files, variable__age_years=DIES), accepted(client, files)
    answer = until(client, dying, ENDED)
    assert answer["state"] == "failed" and "ended with status 7" in answer["error"]
    assert until(client, next_one, ENDED)["state"] == "done"
    assert not [name for name in left(cases) if name.startswith(dying)]


def test_a_fault_of_the_program_is_told_without_values(
    service: Service, files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = service
    answer = predicted(client, files, variable__age_years=BREAKS)
    assert answer["state"] == "failed" and answer["error"].startswith("a fault of the program")
    assert "ValueError" in caplog.text and answer["id"] in caplog.text


def test_an_unforeseen_error_of_a_route_is_500_with_an_id(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, cases = service

    def broken(_: str) -> None:
        raise KeyError(PATIENT)

    monkeypatch.setattr(cases, "find", broken)
    answer = client.get("/cases/unknown?name=Sibylle")
    assert answer.status_code == 500 and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["id"] in caplog.text and "KeyError" in caplog.text


def test_no_more_wait_than_may_and_those_hear_when_to_come_back(
    service: Service, files: dict[str, bytes]
) -> None:
    client, _ = service
    slow = accepted(client, files, variable__age_years=SLOW)
    assert until(client, slow, ("running",))["ahead"] == 0
    waiting = [accepted(client, files) for _ in range(2)]
    assert [client.get(f"/cases/{case}").json()["ahead"] for case in waiting] == [1, 2]
    full = send(client, files)
    assert full.status_code == 429 and int(full.headers["retry-after"]) >= 1
    assert client.get("/health").json()["waiting"] == 2
    ended = [until(client, case, ENDED) for case in (slow, *waiting)]
    # an age beyond those of the training is none that it cannot take
    assert [case["state"] for case in ended] == ["done", "done", "done"]


def test_results_go_after_their_time(service: Service, files: dict[str, bytes]) -> None:
    client, cases = service
    answer = predicted(client, files)
    assert [name for name in left(cases) if name.startswith(answer["id"])]
    cases.settings = cases.settings.model_copy(update={"kept_seconds": 0.01})
    time.sleep(0.05)
    assert client.get(f"/cases/{answer['id']}").status_code == 404
    assert not left(cases)


def test_an_upload_that_breaks_off_leaves_neither_place_nor_file(running: Service) -> None:
    _, cases = running
    with pytest.raises(RuntimeError), cases.new_case() as case:
        assert cases.waiting == 1 and (case.folder / "uploads").is_dir()
        raise RuntimeError
    assert cases.waiting == 0 and not case.folder.exists()


def test_files_of_cases_are_their_owners_alone(running: Service, files: dict[str, bytes]) -> None:
    client, cases = running
    answer = predicted(client, files)
    inside = list(cases.folder.rglob("*"))
    assert answer["state"] == "done" and inside
    for path in (cases.folder.parent, cases.folder, cases.folder / answer["id"]):
        assert path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in inside if path.is_file()} == {0o600}


def test_the_time_left_follows_the_last_case() -> None:
    case, usual = Case("x", Path(), state="running"), {"one": 2.0, "two": 6.0}
    case.begin("one", 0.0, 100.0)
    assert case.progress(101.0, {}) == (0.0, None)
    # 1 s of 2 s, and 6 s to come
    assert case.progress(101.0, usual) == (0.125, 7.0)
    case.begin("two", 0.5, 103.0)
    # the first step took 3 s; of the second, 1 s of 6 s is over
    assert case.progress(104.0, usual) == (pytest.approx(4 / 9, abs=1e-3), 5.0)


# --- start and end ---


def test_what_a_killed_service_left_goes_at_the_next_start_and_all_of_it_at_the_end(
    tmp_path: Path, model: Path, files: dict[str, bytes]
) -> None:
    old = tmp_path / FOLDER / ".partial-killed/case/uploads"
    old.mkdir(parents=True)
    (old / "event").write_bytes(b"a head")
    with served(tmp_path, model) as (client, cases):
        assert not old.exists()
        pid = cases.worker.pid
        case = accepted(client, files, variable__age_years=HANGS)
        until(client, case, ("running",))
        began = time.monotonic()
    assert time.monotonic() - began < 20 and not list((tmp_path / FOLDER).iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


def test_a_model_that_cannot_be_loaded_is_told_before_anything_is_served(tmp_path: Path, model: Path) -> None:
    import shutil

    spoilt = shutil.copytree(model, tmp_path / "model")
    (spoilt / "fold-0.safetensors").write_bytes(b"other weights")
    with (
        pytest.raises(RicenetError, match=r"the model cannot be loaded: .*weights"),
        open_cases(tmp_path, work_of(spoilt), ServiceSettings()),
    ):
        pass
    assert not list((tmp_path / FOLDER).iterdir())


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "is not set"), ("qwert", "has 5 characters"), ("with blanks in it, many", "blanks")],
)
def test_a_token_has_to_be_set_and_long(
    value: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    if value is not None:
        monkeypatch.setenv(TOKEN, value)
    with pytest.raises(RicenetError, match=message) as error:
        token_of_environment()
    assert value is None or value not in str(error.value)
