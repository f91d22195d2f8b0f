"""`ricenet import dicomweb`: what a PACS holds of listed patients is imported as their export would be."""

from __future__ import annotations

import functools
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from dicom_trees import TinyExport, edit, write_tiny_export
from orthanc_server import Orthanc
from pydicom import dcmread
from scripted_pacs import Answer, Asked, HeldObjects, ScriptedPacs, found, multipart, pacs_with, scripted_pacs
from tracking_servers import free_port, wait_until
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.proposal import propose_map
from ricenet.importing.series_map import ProposedRow
from ricenet.pacs import session
from ricenet.phantom.dicom.objects import uid
from ricenet.runtime.files import locked
from ricenet.vocabulary import PAPER_VOLUMES

IDENTIFYING = re.compile(r"ANON|Secret|Sibylle|19570917|2\.25\.|2020-|2020\d{4}|MPRAGE")
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"

Fetch = Callable[..., Result]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def proposed(folder: Path) -> tuple[ProposedRow, ...]:
    """The map of a folder all of whose files can be used."""
    tree = read_tree(folder)
    assert not tree.unusable
    return propose_map(tree, PAPER_VOLUMES)


@pytest.fixture(scope="session")
def two_exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyExport, TinyExport]:
    """A patient with a planning CT (44 objects of 6 series), and one without (30 of 5); read only."""
    folder = tmp_path_factory.mktemp("exports")
    one = write_tiny_export(folder, "ANON-17", shared_frame=False, with_ct=True)
    return one, write_tiny_export(folder, "ANON-18")


@pytest.fixture(scope="session")
def one_folder(two_exports: tuple[TinyExport, TinyExport]) -> Path:
    """The export of ANON-17 alone."""
    return two_exports[0].folder / "ANON-17"


@pytest.fixture
def filled(orthanc: Orthanc, two_exports: tuple[TinyExport, TinyExport]) -> Orthanc:
    orthanc.store(files_of(two_exports[0].folder))
    return orthanc


@pytest.fixture
def held(one_folder: Path) -> HeldObjects:
    return HeldObjects(files_of(one_folder))


@pytest.fixture
def pacs(held: HeldObjects) -> Iterator[ScriptedPacs]:
    """A server that holds ANON-17 and answers as `held` is told to."""
    with pacs_with(held) as server:
        yield server


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    return listed(tmp_path, "ANON-17")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the objects are kept by default."""
    return tmp_path / "list.dicom"


def listed(tmp_path: Path, *rows: str, header: str = "patient_id") -> Path:
    patients = tmp_path / "list.csv"
    patients.write_text("\n".join([header, *rows]) + "\n")
    patients.chmod(0o600)
    return patients


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Fetch:
    """The command, less patient than for a real PACS; neither its output nor its log names anybody."""
    hasty = functools.partial(session.Limits, first_wait_s=0.01, attempts=2)
    monkeypatch.setattr(session, "Limits", hasty)

    def call(url: str, patients: Path, *options: str) -> Result:
        words = ["import", "dicomweb", url, "--patients", str(patients), "--requests-per-s", "1000", *options]
        result = CliRunner().invoke(app, words)
        said = result.output + caplog.text
        assert not IDENTIFYING.search(said), said
        assert "Traceback" not in said
        return result

    return call


def test_a_pacs_gives_the_map_that_the_export_gives(
    filled: Orthanc, two_exports: tuple[TinyExport, TinyExport], tmp_path: Path, fetch: Fetch, folder: Path
) -> None:
    result = fetch(filled.dicomweb, listed(tmp_path, "ANON-17", "ANON-18"))
    assert result.exit_code == 0
    assert "2 patient(s): 2 complete" in result.output
    assert "74 object(s) fetched" in result.output
    assert f"ricenet import dicom {folder} data/mine --map {tmp_path / 'list.map.csv'}" in result.output
    assert proposed(folder) == proposed(two_exports[0].folder)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files_of(folder)}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")] if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


def test_objects_arrive_byte_by_byte(filled: Orthanc, one_folder: Path, patients: Path, fetch: Fetch) -> None:
    fetch(filled.dicomweb, patients)
    fetched = {path.read_bytes() for path in patients.with_name("list.dicom").rglob("*.dcm")}
    assert fetched == {path.read_bytes() for path in files_of(one_folder)}


def test_nobody_is_fetched_who_is_not_listed(
    filled: Orthanc, one_folder: Path, patients: Path, fetch: Fetch, folder: Path
) -> None:
    assert fetch(filled.dicomweb, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_a_second_call_fetches_what_is_missing(
    filled: Orthanc, patients: Path, fetch: Fetch, folder: Path
) -> None:
    fetch(filled.dicomweb, patients)
    gone = sorted(folder.rglob("*.dcm"))[7]
    content = gone.read_bytes()
    gone.unlink()
    left_half = gone.with_name(".partial-abc")
    left_half.write_bytes(content[:100])
    assert "1 object(s) fetched (0.0 MB), 43 there before" in fetch(filled.dicomweb, patients).output
    assert gone.read_bytes() == content
    assert not left_half.exists()
    assert "0 object(s) fetched (0.0 MB), 44 there before" in fetch(filled.dicomweb, patients).output


def test_a_pacs_with_sign_in_is_asked_as_the_environment_says(
    closed_orthanc: Orthanc, patients: Path, fetch: Fetch, one_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_orthanc.store(files_of(one_folder)[:3])
    refused = fetch(closed_orthanc.dicomweb, patients)
    assert (refused.exit_code, "(401)" in refused.output) == (1, True)
    for name, value in closed_orthanc.credentials.items():
        monkeypatch.setenv(name, value)
    assert "3 object(s) fetched" in fetch(closed_orthanc.dicomweb, patients).output


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO 2022 IR 6", "Secret^Sibylle"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_in_other_characters_change_nothing(
    character_set: str | list[str], name: str, orthanc: Orthanc, one_folder: Path, patients: Path,
    tmp_path: Path, fetch: Fetch, folder: Path,
) -> None:  # fmt: skip
    export = tmp_path / "export"
    shutil.copytree(one_folder, export)
    for path in files_of(export):
        edit(path, SpecificCharacterSet=character_set, PatientName=name)
    orthanc.store(files_of(export))
    assert fetch(orthanc.dicomweb, patients).exit_code == 0
    assert proposed(folder) == proposed(export)
    assert {str(dcmread(path).PatientName) for path in folder.rglob("*.dcm")} == {name}


@pytest.mark.parametrize("patient_id", ["ANON 17", "ANON+17&x=1/%41;'", "ANON-MÜNCHEN-17", "00/17"])
def test_an_identifier_of_any_signs_finds_its_patient(
    patient_id: str,
    orthanc: Orthanc,
    two_exports: tuple[TinyExport, TinyExport],
    tmp_path: Path,
    fetch: Fetch,
) -> None:
    for source in (two_exports[0].dose_file, two_exports[1].dose_file):
        path = tmp_path / "dose.dcm"
        shutil.copy(source, path)
        if source == two_exports[0].dose_file:
            edit(path, PatientID=patient_id, SpecificCharacterSet="ISO_IR 100")
        orthanc.store([path])
    assert "1 object(s) fetched" in fetch(orthanc.dicomweb, listed(tmp_path, patient_id)).output


def test_series_that_the_import_does_not_read_stay_where_they_are(
    filled: Orthanc, one_folder: Path, patients: Path, fetch: Fetch, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.dcm"
    shutil.copy(files_of(one_folder)[0], other)
    new = {"SeriesInstanceUID": uid("other series"), "SOPInstanceUID": uid("other object")}
    edit(other, Modality="PR", SOPClassUID=PRESENTATION_STATE, PixelData=None, **new)
    filled.store([other])
    assert "does not read (PR 1)" in fetch(filled.dicomweb, patients).output
    assert proposed(folder) == proposed(one_folder)


def test_dates_narrow_what_is_fetched(
    filled: Orthanc, tmp_path: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    header = "patient_id,from_date,to_date"
    assert fetch(filled.dicomweb, listed(tmp_path, "ANON-17,,2020-03-10", header=header)).exit_code == 0
    days = {row.date for row in proposed(folder)}
    assert days == {row.date for row in proposed(one_folder)} - {"2020-09-01"}
    none = fetch(filled.dicomweb, listed(tmp_path, "ANON-17,2021-01-01,", header=header))
    assert (none.exit_code, "line 2 of list.csv: 3 study or studies, none from" in none.output) == (1, True)


def test_who_is_not_found_is_told_by_the_line(filled: Orthanc, tmp_path: Path, fetch: Fetch) -> None:
    result = fetch(filled.dicomweb, listed(tmp_path, "ANON-1", "anon-17", "ANON-17"))
    assert result.exit_code == 1
    assert "2 of 3 patient(s) are not complete" in result.output
    assert "line 2 of list.csv: no study of this patient_id in the PACS" in result.output
    assert "line 3 of list.csv: no study of this patient_id; the PACS has one that differs" in result.output
    assert "44 object(s) fetched" in result.output


def test_a_patient_without_a_dose_is_told(
    orthanc: Orthanc, two_exports: tuple[TinyExport, TinyExport], patients: Path, fetch: Fetch
) -> None:
    orthanc.store(two_exports[0].post_op_files)
    result = fetch(orthanc.dicomweb, patients)
    assert (result.exit_code, "line 2 of list.csv: no RTDOSE in its studies" in result.output) == (0, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("patient_id,name\nANON-17,Sibylle\n", "column 2 is not known"),
        ("patient_id,birth_date\nANON-17,19570917\n", "names and birth dates are not needed"),
        ("ANON-17\nANON-18\n", "column patient_id is missing"),
        ("patient_id\n", "names no patient"),
        ("patient_id\nANON-*\n", "line 2: patient_id holds *"),
        ("patient_id\nANON-17\nANON-17\n", "lines 2, 3: the same patient_id"),
        ("patient_id,from_date\nANON-17,1.3.2020\n", "line 2: from_date is no date"),
        ("patient_id,from_date,to_date\nANON-17,2020-03-02,2020-03-01\n", "line 2: from_date is after"),
        ("patient_id,from_date\n,2020-03-01\n", "line 2: patient_id is empty"),
        ("patient_id\nANON-\udcff\n", "is not text in UTF-8"),
        (None, "no such file"),
    ],
)  # fmt: skip
def test_a_faulty_list_is_refused_before_anybody_is_asked_for(
    content: str | None, said: str, pacs: ScriptedPacs, tmp_path: Path, fetch: Fetch
) -> None:
    patients = tmp_path / "list.csv"
    if content is not None:
        patients.write_bytes(content.encode("utf-8", "surrogateescape"))
    result = fetch(pacs.url, patients)
    assert (result.exit_code, said in result.output, pacs.asked) == (1, True, []), result.output


def test_a_list_that_others_may_read_is_told(pacs: ScriptedPacs, patients: Path, fetch: Fetch) -> None:
    assert "others may read it" not in fetch(pacs.url, patients).output
    patients.chmod(0o644)
    assert "others may read it" in fetch(pacs.url, patients).output


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401), "RICENET_PACS_USER"),
        (Answer(403), "does not permit"),
        (Answer(413), "too large"),
        (Answer(500, b'{"error": "ANON-17"}', "application/json"), "error (500)"),
        (Answer(200, b'{"error": "ANON-17"}', "application/json"), "no answer of DICOMweb"),
        (Answer(200, b'["ANON-17"]'), "no answer of DICOMweb"),
        (Answer(200, b"3"), "does not answer as DICOMweb does"),
        (Answer(200, b"<html>ANON-17</html>", "text/html"), "a web page"),
        (Answer(silent_s=1.5), "was silent for 1 s"),
        (found({"0020000D": {"vr": "UI", "Value": ["../../1"]}}), "without a valid UID"),
    ],
)
def test_a_pacs_that_answers_otherwise_is_told_and_nothing_is_written(
    answer: Answer, said: str, patients: Path, fetch: Fetch, folder: Path
) -> None:
    with scripted_pacs(answer) as server:
        result = fetch(server.url, patients, "--silent-s", "1")
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert not list(folder.rglob("*.dcm"))


def test_a_pacs_that_is_away_is_told(patients: Path, fetch: Fetch) -> None:
    result = fetch(f"http://127.0.0.1:{free_port()}/dicom-web", patients)
    assert (result.exit_code, "cannot be reached" in result.output) == (1, True)


def asks_for_objects(asked: Asked) -> bool:
    return "instances/" in asked.path or asked.path.split("/")[-2] == "series"


def test_a_pacs_that_goes_away_leaves_whole_objects_and_the_next_call_goes_on(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    def gone_soon(asked: Asked, answer: Answer) -> Answer:
        if not asks_for_objects(asked) or sum(map(asks_for_objects, pacs.asked)) == 1:
            return answer
        if "instances/" in asked.path:
            return Answer(503)
        return Answer(content=answer.content, kind=answer.kind, cut=len(answer.content) // 2)

    held.change = gone_soon
    broken = fetch(pacs.url, patients)
    assert (broken.exit_code, "is busy or restarting (503)" in broken.output) == (1, True)
    whole = {path.read_bytes() for path in files_of(one_folder)}
    kept = [path.read_bytes() for path in folder.rglob("*.dcm")]
    arrived = sum(bool(content) for content in kept)
    assert 0 < arrived < 44
    assert whole.issuperset(content for content in kept if content)
    held.change = lambda _, answer: answer
    assert f"{44 - arrived} object(s) fetched" in fetch(pacs.url, patients).output
    assert proposed(folder) == proposed(one_folder)


def test_a_killed_fetch_leaves_no_part_for_the_whole(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    # as one that is not fast
    held.change = lambda asked, answer: replace(answer, silent_s=0.3 * asks_for_objects(asked))
    command = [sys.executable, "-c", "from ricenet.cli import app; app()", "import", "dicomweb", pacs.url]
    process = subprocess.Popen([*command, "--patients", str(patients)], stderr=subprocess.DEVNULL)
    wait_until(lambda: sum(path.name != "lacking-1.dcm" for path in folder.rglob("*.dcm")) > 1, 60)
    process.kill()
    process.wait()
    of_export = {one.uid: one.slices for one in read_tree(one_folder).series}
    left = read_tree(folder)
    # a single slice is no volume, whatever lies beside it
    assert all(one.unusable or one.slices in (1, of_export[one.uid]) for one in left.series)
    # those that were not begun say so too
    assert len(left.unusable) >= len(of_export) - len(left.series) > 0
    held.change = lambda _, answer: answer
    assert fetch(pacs.url, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_half_a_series_is_no_series_for_the_import_until_the_rest_comes(
    held: HeldObjects, pacs: ScriptedPacs, two_exports: tuple[TinyExport, TinyExport], one_folder: Path,
    patients: Path, fetch: Fetch, folder: Path,
) -> None:  # fmt: skip
    last_slice = dcmread(two_exports[0].post_op_files[-1])

    def without_it(asked: Asked, answer: Answer) -> Answer:
        if "instances/" in asked.path and last_slice.SOPInstanceUID in asked.path:
            return Answer(404)
        if asks_for_objects(asked) and last_slice.SeriesInstanceUID in asked.path:
            return multipart(*(path.read_bytes() for path in two_exports[0].post_op_files[:-1]))
        return answer

    held.change = without_it
    result = fetch(pacs.url, patients)
    assert result.exit_code == 1
    assert (
        "line 2 of list.csv: 1 of 12 object(s) of a series (MR) are listed and do not come (status 404)"
        in result.output
    )
    (post_op,) = [one for one in read_tree(folder).series if one.uid == last_slice.SeriesInstanceUID]
    assert (post_op.slices, post_op.unusable) == (11, 1)
    held.change = lambda _, answer: answer
    assert "1 object(s) fetched" in fetch(pacs.url, patients).output
    assert proposed(folder) == proposed(one_folder)


def test_objects_that_are_counted_and_not_listed_are_lacking_too(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    held.count = 2
    result = fetch(pacs.url, patients)
    assert (result.exit_code, "2 of 14 object(s) of a series (MR)" in result.output) == (1, True)
    assert "2 series of a study are counted by the PACS and not listed" in result.output
    assert {one.unusable for one in read_tree(folder).series if one.kind == "MR"} == {2}
    held.count = 0
    assert fetch(pacs.url, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_an_object_that_comes_twice_counts_once(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    held.objects += held.objects[:20]
    result = fetch(pacs.url, patients)
    assert (result.exit_code, "44 object(s) fetched" in result.output) == (0, True)
    assert proposed(folder) == proposed(one_folder)


def test_an_object_that_comes_twice_and_differs_is_told_and_left_to_the_import(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, two_exports: tuple[TinyExport, TinyExport],
    fetch: Fetch, folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    other = tmp_path / "other.dcm"
    shutil.copy(two_exports[0].post_op_files[3], other)
    edit(other, EchoTime="99")
    held.objects += HeldObjects([other]).objects
    result = fetch(pacs.url, patients)
    assert (result.exit_code, "1 object(s) came twice with differing content" in result.output) == (1, True)
    assert len(read_tree(folder).unusable) == 2


def test_a_series_that_is_too_large_comes_object_by_object(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    held.change = lambda asked, answer: (
        Answer(413) if asks_for_objects(asked) and "instances/" not in asked.path else answer
    )
    assert fetch(pacs.url, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_a_pacs_that_cannot_send_as_stored_sends_uncompressed(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    held.change = lambda asked, answer: Answer(406) if "syntax=*" in asked.headers["Accept"] else answer
    assert fetch(pacs.url, patients).exit_code == 0
    next(folder.rglob("*.dcm")).unlink()
    assert "1 object(s) fetched" in fetch(pacs.url, patients).output
    assert proposed(folder) == proposed(one_folder)


def test_what_arrives_damaged_is_not_kept(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, fetch: Fetch, folder: Path
) -> None:
    held.objects = [(dataset, content[:-200]) for dataset, content in held.objects]
    result = fetch(pacs.url, patients)
    assert (result.exit_code, "do not come (they arrive damaged)" in result.output) == (1, True)
    assert {path.stat().st_size for path in folder.rglob("*.dcm")} == {0}


def test_a_pacs_that_refuses_the_objects_is_not_asked_for_each(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, fetch: Fetch
) -> None:
    held.change = lambda asked, answer: Answer(403) if asks_for_objects(asked) else answer
    result = fetch(pacs.url, patients)
    assert (result.exit_code, "(status 403)" in result.output) == (1, True)
    # each series as a whole, then three objects of an MR or CT, and the one of a plan, dose or structure set
    assert sum(map(asks_for_objects, pacs.asked)) == 3 * (1 + 3) + 3 * (1 + 1)


@pytest.mark.parametrize(("page", "takes_offset"), [(5, True), (1000, False)])
def test_a_pacs_that_lists_page_by_page_is_asked_for_all(
    page: int, takes_offset: bool, held: HeldObjects, pacs: ScriptedPacs, patients: Path, one_folder: Path,
    fetch: Fetch, folder: Path,
) -> None:  # fmt: skip
    held.page, held.takes_offset = page, takes_offset
    assert fetch(pacs.url, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_a_pacs_that_finds_everybody_gives_the_listed_ones(
    two_exports: tuple[TinyExport, TinyExport], patients: Path, one_folder: Path, fetch: Fetch, folder: Path
) -> None:
    everybody = HeldObjects(files_of(two_exports[0].folder))
    everybody.takes_filter = False
    with pacs_with(everybody) as server:
        assert fetch(server.url, patients).exit_code == 0
    assert proposed(folder) == proposed(one_folder)


def test_a_pacs_that_decodes_no_address_finds_its_patients(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, fetch: Fetch
) -> None:
    held.decodes = False
    for dataset, _ in held.objects:
        dataset.PatientID = "ANÖN / 17"
    assert "44 object(s) fetched" in fetch(pacs.url, listed(patients.parent, "ANÖN / 17")).output
    assert "PatientID=AN*N*17" in pacs.asked[1].path
    # everybody would be found
    before = len(pacs.asked)
    assert "no study" in fetch(pacs.url, listed(patients.parent, "Ö/17")).output
    assert len(pacs.asked) == before + 1


def test_one_patient_whom_the_pacs_cannot_list_does_not_stop_the_others(
    held: HeldObjects, pacs: ScriptedPacs, tmp_path: Path, fetch: Fetch
) -> None:
    held.change = lambda asked, answer: Answer(500) if "ANON-99" in asked.path else answer
    result = fetch(pacs.url, listed(tmp_path, "ANON-99", "ANON-17"))
    assert (result.exit_code, "line 2 of list.csv: cannot be listed" in result.output) == (1, True)
    assert "44 object(s) fetched" in result.output


def test_objects_that_state_another_patient_are_told(
    held: HeldObjects, pacs: ScriptedPacs, patients: Path, fetch: Fetch
) -> None:
    for dataset, _ in held.objects:
        dataset.PatientID = "NEW-17"
    result = fetch(pacs.url, listed(patients.parent, "NEW-17"))
    assert "44 object(s) state another PatientID" in result.output


def test_a_folder_of_other_files_is_refused(
    pacs: ScriptedPacs, patients: Path, tmp_path: Path, fetch: Fetch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "slice.dcm").touch()
    result = fetch(pacs.url, patients, "--export", str(tmp_path / "other"))
    assert (result.exit_code, "were not fetched from a PACS" in result.output) == (1, True)
    result = fetch(pacs.url, patients, "--export", str(patients))
    assert (result.exit_code, "is a file" in result.output) == (1, True)


def test_two_calls_at_once_do_not_mix(pacs: ScriptedPacs, patients: Path, fetch: Fetch, folder: Path) -> None:
    fetch(pacs.url, patients)
    with locked(folder / ".fetching.lock"):
        result = fetch(pacs.url, patients)
    assert (result.exit_code, "using list.dicom" in result.output) == (1, True)


def test_the_next_command_takes_the_folder(
    pacs: ScriptedPacs, patients: Path, fetch: Fetch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = fetch(pacs.url, patients).output.splitlines()[-1].split()
    assert words[:3] == ["ricenet", "import", "dicom"]
    monkeypatch.chdir(Path(__file__).parents[1])
    words[words.index("data/mine")] = str(tmp_path / "mine")
    proposal = CliRunner().invoke(app, words[1:])
    assert "a proposal for 1 patient(s)" in proposal.output
    assert (tmp_path / "list.map.csv").is_file()
    # neither mark nor lock counts as a file that cannot be used
    assert not (tmp_path / "list.map.files.csv").exists()
