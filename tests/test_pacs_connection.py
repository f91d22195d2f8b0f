"""A DICOMweb server is asked at a bounded rate, again where that helps, and its failures name nobody."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from orthanc_server import Orthanc
from scripted_pacs import Answer, found, scripted_pacs, write_certificate
from tracking_servers import free_port

from ricenet.pacs.connection import Pacs, connect
from ricenet.pacs.session import Limits
from ricenet.runtime.errors import PacsError

SECRET = "Sibylle-1957"
HASTY = Limits(connect_s=2, silent_s=0.3, requests_per_s=1000, attempts=3, first_wait_s=0.01)
STUDY = {"0020000D": {"vr": "UI", "Value": ["2.25.1"]}}


@pytest.fixture(autouse=True)
def _nobody_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RICENET_PACS_TOKEN", "RICENET_PACS_USER", "RICENET_PACS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def search(pacs: Pacs) -> list[dict[str, dict[str, object]]]:
    with pacs.answers():
        return pacs.client.search_for_studies(search_filters={"PatientID": SECRET})


def refusal(url: str, limits: Limits = HASTY) -> PacsError:
    with pytest.raises(PacsError) as caught:
        search(connect(url, limits=limits))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


def test_a_real_pacs_answers(orthanc: Orthanc) -> None:
    assert search(connect(orthanc.dicomweb)) == []


def test_a_closed_pacs_answers_whom_the_environment_names(
    closed_orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(closed_orthanc.dicomweb).status == 401
    for name, value in closed_orthanc.credentials.items():
        monkeypatch.setenv(name, value)
    assert search(connect(closed_orthanc.dicomweb)) == []
    monkeypatch.setenv("RICENET_PACS_PASSWORD", "wrong")
    assert "RICENET_PACS_PASSWORD" in str(refusal(closed_orthanc.dicomweb))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, SECRET.encode()), "refuses the user name, password or token"),
        (Answer(403, SECRET.encode()), "does not permit"),
        (Answer(404), "has nothing there"),
        (Answer(413), "too large"),
        (Answer(500, SECRET.encode()), "error (500)"),
        (Answer(503), "busy or restarting"),
        (Answer(200, b"<html>Sibylle-1957", "text/html; charset=utf-8"), "a web page"),
        (Answer(200, b"Sibylle-1957"), "not answer in DICOM JSON"),
        (Answer(200, b'[{"0020', cut=3), "broke off"),
        (Answer(200, b"[]", silent_s=1.0), "was silent for 0.3 s"),
        (
            Answer(302, headers={"Location": f"http://elsewhere.example.org/{SECRET}"}),
            "elsewhere.example.org",
        ),
    ],
)
def test_a_failure_says_what_to_do_and_names_nobody(
    answer: Answer, said: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "ricenet"), scripted_pacs(answer) as pacs:
        assert said in str(refusal(pacs.url))
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


def test_a_pacs_that_is_away_is_told_as_such() -> None:
    assert "cannot be reached" in str(refusal(f"http://127.0.0.1:{free_port()}/dicom-web"))


def test_what_passes_is_asked_again_and_what_stays_is_not() -> None:
    with scripted_pacs(Answer(503), Answer(429, headers={"Retry-After": "0"}), found(STUDY)) as pacs:
        assert search(connect(pacs.url, limits=HASTY)) == [STUDY]
    for status, attempts in ((403, 1), (503, 3)):
        with scripted_pacs(Answer(status)) as pacs:
            refusal(pacs.url)
            assert len(pacs.asked) == attempts


def test_the_wait_that_a_pacs_asks_for_is_kept() -> None:
    with scripted_pacs(Answer(503, headers={"Retry-After": "1"}), found(STUDY)) as pacs:
        begin = time.monotonic()
        search(connect(pacs.url, limits=HASTY))
        assert time.monotonic() - begin >= 1


def test_requests_keep_their_distance() -> None:
    with scripted_pacs(found()) as scripted:
        pacs = connect(scripted.url, limits=HASTY.model_copy(update={"requests_per_s": 20}))
        begin = time.monotonic()
        for _ in range(5):
            search(pacs)
        assert time.monotonic() - begin >= 4 / 20


def test_what_is_stored_is_sent_again_only_where_it_cannot_have_arrived() -> None:
    for answer, attempts in ((Answer(503), 3), (Answer(502), 1), (Answer(silent_s=1.0), 1)):
        with scripted_pacs(answer) as scripted:
            session = connect(scripted.url, limits=HASTY).session
            with pytest.raises(PacsError):
                session.post(scripted.url, data=b"an object")
            assert [asked.content for asked in scripted.asked] == [b"an object"] * attempts


def test_a_token_is_sent_and_a_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("RICENET_PACS_TOKEN", "abc.def")
    with scripted_pacs(found()) as pacs:
        search(connect(pacs.url))
        (asked,) = pacs.asked
        assert asked.headers["Authorization"] == "Bearer abc.def"
        assert asked.headers["Host"] == pacs.url.split("/")[2]


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("ftp://pacs.example.org", {}, "none of http"),
        ("pacs.example.org/dicom-web", {}, "none of http"),
        ("https://ann:secret@pacs.example.org", {}, "holds a user name or password"),
        ("https://pacs.example.org?token=secret", {}, "goes on after its path"),
        ("https://pacs.example.org:port", {}, "not well formed"),
        ("https://pacs.example.org", {"RICENET_PACS_USER": "ann"}, "RICENET_PACS_PASSWORD is not"),
        ("https://pacs.example.org", {"RICENET_PACS_TOKEN": "se cret"}, "holds blanks"),
        ("https://p.org", {"RICENET_PACS_TOKEN": "secret", "RICENET_PACS_USER": "ann"}, "both"),
    ],
)  # fmt: skip
def test_an_address_or_sign_in_that_cannot_be_is_refused(
    url: str, environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PacsError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name, said in (("ca.pem", "no certificate in PEM"), ("lost.pem", "No such file")):
        with pytest.raises(PacsError, match=f"{name}.*{said}"):
            connect("https://pacs.example.org", tmp_path / name)


def test_a_certificate_is_verified_by_the_authority_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = write_certificate(tmp_path)
    with scripted_pacs(found(STUDY), certificate=server) as pacs:
        assert search(connect(pacs.url, authority, HASTY)) == [STUDY]
        assert "certificate cannot be trusted" in str(refusal(pacs.url))
        # which requests would put in the place of a named one
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        assert search(connect(pacs.url, authority, HASTY)) == [STUDY]


def test_plain_http_across_the_network_is_told(caplog: pytest.LogCaptureFixture) -> None:
    connect("http://127.0.0.1:1")
    assert not caplog.text
    connect("http://pacs.example.org")
    assert "can be read on the way" in caplog.text
