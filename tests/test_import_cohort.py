"""Writing an imported cohort: nobody vanishes, nothing is half written, nothing identifies."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cohorts import read_table, write_tiny_subject

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.importing import cohort_folder, sources
from ricenet.importing import import_cohort as cohort_module
from ricenet.importing.cohort_folder import Destination, PatientOutcome
from ricenet.importing.import_cohort import Candidate, import_cohort, reasons
from ricenet.importing.key_file import read_key
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import PAPER_VOLUMES, Volumes

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
PROCESSES = ExecutionParams(backend="processes", workers=2, threads_per_worker=1)
COLUMNS = {"site": "Where.", "days_post_op_to_event": "Days between the scans."}
LABELLED = {"label": "rice", "label_source": "biopsy", "subset": "n/a"}
NO_DOSE = SourceError("no dose", "Add it")


@dataclass(frozen=True)
class Write:
    """Writes a tiny valid subject; notes each call in a file, so that also another process's counts.

    lost: a file that another program then takes away.
    """

    calls: Path
    lost: str = ""

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        with self.calls.open("a") as stream:
            stream.write(f"{raw.subject}\n")
        write_tiny_subject(raw.cohort, raw.subject)
        if self.lost:
            next(raw.folder.rglob(self.lost)).unlink()
        return {"days_post_op_to_event": "184"}


@dataclass(frozen=True)
class Fail:
    """Writes half of a subject, then fails."""

    error: BaseException

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        raw.dose_sidecar.parent.mkdir(parents=True)
        raw.dose_sidecar.write_text("{}")
        raise self.error


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls.txt"
    path.touch()
    return path


def written(calls: Path) -> list[str]:
    """The subjects that were written since the last time."""
    names = calls.read_text().split()
    calls.write_text("")
    return sorted(names)


def candidate(patient_id: str, calls: Path, content: object = 1) -> Candidate:
    return Candidate(patient_id, LABELLED | {"site": "Ulm"}, Write(calls), content=content)


def faulty(patient_id: str, error: BaseException = NO_DOSE, content: object = 2) -> Candidate:
    return Candidate(patient_id, {}, Fail(error), content=content, origin="line 12 of map.csv")


def excluded(patient_id: str, reason: str = "no event") -> Candidate:
    return Candidate(patient_id, {}, exclusion=reason)


def run(
    candidates: Sequence[Candidate],
    tmp_path: Path,
    execution: ExecutionParams = SERIAL,
    out: str = "mine",
    key: str = "map.key.csv",
    volumes: Volumes = PAPER_VOLUMES,
) -> tuple[PatientOutcome, ...]:
    to = Destination(tmp_path / out, tmp_path / key, COLUMNS, {"License": "PDDL"}, volumes)
    return import_cohort(candidates, to, execution)


def refusal(candidates: Sequence[Candidate], tmp_path: Path, **places: str) -> str:
    with pytest.raises(CohortError) as refused:
        run(candidates, tmp_path, **places)  # type: ignore[arg-type]
    return str(refused.value)


def labels(tmp_path: Path) -> list[str | None]:
    checked = admit(check_cohort(tmp_path / "mine"), exclude_faulty=False)
    return [subject.label for subject in checked.subjects]


def import_table(cohort: Path) -> list[list[str]]:
    return [line.split("\t") for line in (cohort / "import.tsv").read_text().splitlines()]


def all_text(folder: Path) -> str:
    names = " ".join(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return names + "".join(path.read_text("latin-1") for path in folder.rglob("*") if path.is_file())


def full_disk(path: Path, *_: object) -> None:
    raise OSError(28, "No space left on device", str(path))


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("execution", [SERIAL, PROCESSES], ids=["serial", "processes"])
def test_an_imported_cohort_passes_the_check_and_an_unforeseen_error_is_known_by_its_kind_alone(
    tmp_path: Path, calls: Path, execution: ExecutionParams, caplog: pytest.LogCaptureFixture
) -> None:
    broken = faulty("Brandt", ZeroDivisionError("Brandt"))
    outcomes = run([candidate("Meier", calls), candidate("Abt", calls), broken], tmp_path, execution)
    assert [(o.participant_id, o.status) for o in outcomes] == [
        ("sub-003", "imported"),
        ("sub-001", "imported"),
        ("sub-002", "failed"),
    ]
    assert labels(tmp_path) == ["rice", "rice"]
    assert read_table(tmp_path / "mine")[1] == {
        "participant_id": "sub-003",
        "label": "rice",
        "label_source": "biopsy",
        "subset": "n/a",
        "site": "Ulm",
        "days_post_op_to_event": "184",
    }
    assert outcomes[2].reason == (
        "an unforeseen ZeroDivisionError, a fault of the program. Report it with the log"
    )
    assert not re.search("Meier|Abt|Brandt|calls", all_text(tmp_path / "mine") + caplog.text)
    assert "raise self.error" in caplog.text


def test_the_description_says_who_made_the_cohort_and_every_column_has_a_meaning(
    tmp_path: Path, calls: Path
) -> None:
    run([replace(candidate("Meier", calls), columns={})], tmp_path)
    description = read_json(tmp_path / "mine" / "dataset_description.json")
    facts = [description[name] for name in ("Name", "DatasetType", "License")]
    assert (facts, description["GeneratedBy"][0]["Name"]) == (["mine", "raw", "PDDL"], "ricenet import")
    meanings = read_json(tmp_path / "mine" / "participants.json")
    assert meanings["site"] == {"Description": "Where."}
    (row,) = read_table(tmp_path / "mine")
    assert list(row) == [
        *("participant_id", "label", "label_source", "subset", "site", "days_post_op_to_event"),
    ]
    assert set(meanings) == set(row)
    assert (row["label"], row["subset"], row["site"]) == ("n/a", "n/a", "n/a")


def test_a_faulty_patient_neither_stops_the_others_nor_vanishes_nor_leaves_anything(
    tmp_path: Path, calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outcomes = run([candidate("A", calls), faulty("B"), excluded("Meier", "two\nlines\tand")], tmp_path)
    assert [o.status for o in outcomes] == ["imported", "failed", "excluded"]
    assert reasons(outcomes[:2]) == "  - sub-002 (line 12 of map.csv): no dose. Add it"
    assert import_table(tmp_path / "mine") == [
        ["participant_id", "status", "reason"],
        ["sub-001", "imported", "n/a"],
        ["sub-002", "failed", "no dose. Add it"],
        ["sub-003", "excluded", "two lines and"],
    ]
    assert [row["participant_id"] for row in read_table(tmp_path / "mine")] == ["sub-001"]
    tables = {"dataset_description.json", "import.tsv", "participants.json", "participants.tsv"}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {*tables, ".bidsignore", "sub-001"}
    assert not re.search("Meier|calls", all_text(tmp_path / "mine") + caplog.text)


def test_an_error_of_the_file_system_is_reported_without_the_files_name(tmp_path: Path, calls: Path) -> None:
    error = PermissionError(13, "Permission denied", "/export/Meier/1.dcm")
    outcomes = run([candidate("A", calls), faulty("Meier", error)], tmp_path)
    assert outcomes[1].reason == (
        "a file could not be read or written (Permission denied). Mend the cause and import again"
    )


@pytest.mark.parametrize("lost", ["*_dose.nii.gz", "*_dose.json", "sub-*_ses-event_*"])
def test_a_subject_of_which_a_file_vanished_is_not_put_in_its_place(
    tmp_path: Path, calls: Path, lost: str
) -> None:
    loser = Candidate("B", LABELLED, Write(calls, lost))
    outcomes = run([candidate("A", calls), loser], tmp_path)
    assert outcomes[1].reason.startswith("files of the subject vanished while they were written. Let no")
    assert not (tmp_path / "mine" / "sub-002").exists()


@pytest.mark.parametrize(("lost", "status"), [("*_dose.nii.gz", "imported"), ("*_dose.json", "failed")])
def test_an_optional_volume_may_lack_but_not_a_part_of_it(
    tmp_path: Path, calls: Path, lost: str, status: str
) -> None:
    optional = Volumes(spec.model_copy(update={"required": spec.kind == "mri"}) for spec in PAPER_VOLUMES)
    loser = Candidate("B", LABELLED, Write(calls, lost))
    assert run([candidate("A", calls), loser], tmp_path, volumes=optional)[1].status == status


# again


def test_an_unchanged_subject_is_kept_with_its_columns(
    tmp_path: Path, calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run([candidate("A", calls)], tmp_path)
    before = read_table(tmp_path / "mine")
    assert written(calls) == ["sub-001"]
    with caplog.at_level(logging.INFO, logger="ricenet"):
        run([candidate("A", calls)], tmp_path)
    assert written(calls) == []
    assert "1 of 1 subjects are unchanged and kept" in caplog.text
    assert read_table(tmp_path / "mine") == before
    # a corrected label reaches the table without the subject being written again
    run([replace(candidate("A", calls), columns={"label": "recurrence"})], tmp_path)
    assert written(calls) == []
    assert read_table(tmp_path / "mine")[0]["label"] == "recurrence"


def test_new_and_changed_subjects_alone_are_written(tmp_path: Path, calls: Path) -> None:
    run([candidate("B", calls), candidate("C", calls)], tmp_path)
    written(calls)
    run([candidate("A", calls), candidate("B", calls), candidate("C", calls, content=2)], tmp_path)
    assert written(calls) == ["sub-002", "sub-003"]
    assert read_key(tmp_path / "map.key.csv")["A"].participant_id == "sub-003"


def test_the_digest_in_a_subjects_folder_cannot_be_guessed_without_the_key(
    tmp_path: Path, calls: Path
) -> None:
    digests = []
    for key in ("map.key.csv", "other.key.csv"):
        run([candidate("A", calls)], tmp_path, out=key.partition(".")[0], key=key)
        digests.append(read_json(tmp_path / key.partition(".")[0] / "sub-001/sub-001_import.json")["digest"])
    assert len(set(digests)) == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("ses-postop/rt/sub-001_ses-postop_dose.nii.gz", None),
        ("ses-event/anat/sub-001_ses-event_ce-gadolinium_T1w.nii.gz", None),
        ("sub-001_import.json", None),
        ("sub-001_import.json", "{"),
        ("sub-001_import.json", '{"days_post_op_to_event": "184"}'),
    ],
    ids=["dose", "scan", "record", "damaged record", "record of an earlier version"],
)
def test_a_subject_that_lost_a_file_is_written_again(
    tmp_path: Path, calls: Path, file: str, content: str | None
) -> None:
    run([candidate("A", calls)], tmp_path)
    written(calls)
    path = tmp_path / "mine" / "sub-001" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    run([candidate("A", calls)], tmp_path)
    assert written(calls) == ["sub-001"] and path.is_file()


@pytest.mark.parametrize("change", [lambda content: b"", lambda content: content[:-1] + b"?"])
@pytest.mark.parametrize("file", ["ses-postop/rt/sub-001_ses-postop_dose.nii.gz", "ses-postop/rt/*.json"])
def test_a_subject_whose_file_was_emptied_or_changed_is_written_again_and_it_is_said(
    tmp_path: Path,
    calls: Path,
    caplog: pytest.LogCaptureFixture,
    file: str,
    change: Callable[[bytes], bytes],
) -> None:
    run([candidate("A", calls)], tmp_path)
    written(calls)
    (path,) = (tmp_path / "mine/sub-001").glob(file)
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    run([candidate("A", calls)], tmp_path)
    assert written(calls) == ["sub-001"] and path.read_bytes() == whole
    assert "sub-001: 1 of 4 files are not as an earlier import wrote them" in caplog.text


def test_whatever_decides_a_subjects_files_counts_in_the_codes_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = "ricenet.importing.import_subject"
    assert sources.code_of(writer) == sources.code_of.__wrapped__(writer)
    monkeypatch.setattr(sources, "version", lambda tool: "another")
    assert sources.code_of(writer) != sources.code_of.__wrapped__(writer)
    monkeypatch.undo()
    monkeypatch.setattr(sources, "code_digest", lambda module: "another")
    assert sources.code_of(writer) != sources.code_of.__wrapped__(writer)


# kills


def test_a_second_call_goes_on_where_a_killed_one_stopped(tmp_path: Path, calls: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run([candidate("A", calls), faulty("B", KeyboardInterrupt())], tmp_path)
    # the mark is there before the first subject is replaced
    assert (tmp_path / "mine" / "IMPORTING").is_file()
    # what a kill, unlike an interruption, leaves behind
    (tmp_path / "mine/.partial-sub-002-x/sub-002").mkdir(parents=True)
    (tmp_path / "mine/.partial-y.json").touch()
    written(calls)
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    assert written(calls) == ["sub-002"]
    assert len(read_table(tmp_path / "mine")) == 2
    assert not list((tmp_path / "mine").glob(".partial*")) and not (tmp_path / "mine/IMPORTING").exists()


def test_a_cohort_whose_import_was_killed_before_the_tables_is_refused_until_it_is_ended(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([candidate("A", calls)], tmp_path)
    changed = [replace(candidate("A", calls, content=2), columns=LABELLED | {"label": "recurrence"})]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cohort_module, "write_tables", killed)
        run(changed, tmp_path)
    assert read_table(tmp_path / "mine")[0]["label"] == "rice"
    with pytest.raises(CohortError, match="IMPORTING: import unfinished: it was killed"):
        admit(check_cohort(tmp_path / "mine"), exclude_faulty=True)
    written(calls)
    run(changed, tmp_path)
    assert written(calls) == [] and labels(tmp_path) == ["recurrence"]
    # and a folder that was replaced is not taken for the old one
    run([candidate("A", calls)], tmp_path)
    assert written(calls) == ["sub-001"]


def test_a_first_import_that_was_killed_at_once_may_be_given_again(tmp_path: Path, calls: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "IMPORTING").touch()
    assert run([candidate("A", calls)], tmp_path)[0].status == "imported"


# two imports


@dataclass(frozen=True)
class ImportMeanwhile:
    """Writes a subject, and while it does starts another import into the same folder with another key."""

    calls: Path
    root: Path

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        message = refusal([candidate("B", self.calls)], self.root, key="b.csv")
        assert message == "another import is using mine. Wait for its end, then import again"
        return Write(self.calls)(raw)


def test_a_folder_serves_one_import_at_a_time_whatever_their_keys(tmp_path: Path, calls: Path) -> None:
    run([Candidate("A", LABELLED, ImportMeanwhile(calls, tmp_path))], tmp_path)
    assert labels(tmp_path) == ["rice"]
    assert not list(tmp_path.glob("**/*.lock"))


def test_one_key_may_serve_two_cohorts(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    run([candidate("A", calls, content=2), faulty("B")], tmp_path, out="second")
    written(calls)
    outcomes = run([candidate("A", calls), candidate("B", calls)], tmp_path)
    assert [outcome.status for outcome in outcomes] == ["imported", "imported"]
    assert written(calls) == []


# what is refused


def test_a_subject_that_can_no_longer_be_made_leaves_the_table_and_its_old_folder_is_reported(
    tmp_path: Path, calls: Path
) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    outcomes = run([candidate("A", calls), faulty("B")], tmp_path)
    assert outcomes[1].reason == (
        "no dose. Add it. The folder sub-002 holds what an earlier import wrote: mend this, or remove it"
    )
    assert [row["participant_id"] for row in read_table(tmp_path / "mine")] == ["sub-001"]
    assert (tmp_path / "mine/sub-002").is_dir()


@pytest.mark.parametrize("now", [[], [excluded("B")]], ids=["absent", "excluded"])
def test_a_subject_that_is_no_longer_imported_stops_the_import_before_anything_is_written(
    tmp_path: Path, calls: Path, now: list[Candidate]
) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    written(calls)
    message = refusal([candidate("A", calls, content=2), *now], tmp_path)
    assert message == (
        "mine holds sub-002, imported earlier and not to be imported now. "
        "Remove what is no longer wanted, or take the patients in again"
    )
    assert written(calls) == []


def test_a_cohort_without_its_key_is_not_touched(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls)], tmp_path)
    (tmp_path / "map.key.csv").unlink()
    assert refusal([candidate("B", calls)], tmp_path) == (
        "mine holds sub-001, written with another key file than map.key.csv. "
        "Name the key file of that cohort, or another folder"
    )
    assert not (tmp_path / "map.key.csv").exists()


def test_a_folder_that_is_not_named_by_a_pseudonym_is_counted_not_named(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls)], tmp_path)
    (tmp_path / "mine/sub-Meier_1951").mkdir()
    message = refusal([candidate("A", calls)], tmp_path)
    assert "mine holds 1 folder(s) not named by a pseudonym, written with another key" in message


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "{}", json.dumps({"GeneratedBy": [{"Name": "fMRIPrep"}, 3]})]
)
def test_a_folder_that_holds_something_else_is_not_written_into(
    tmp_path: Path, calls: Path, content: str | None
) -> None:
    (tmp_path / "mine").mkdir()
    # an empty folder may become the cohort
    run([candidate("A", calls)], tmp_path, out="mine", key="empty.csv")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    if content is not None:
        (tmp_path / "other" / "dataset_description.json").write_text(content)
    written(calls)
    message = refusal([candidate("A", calls)], tmp_path, out="other")
    assert message.startswith("other holds files, and is no cohort that ricenet import wrote. Name a new")
    assert written(calls) == []


def test_the_key_may_not_lie_inside_the_cohort_nor_the_cohort_be_a_file(tmp_path: Path, calls: Path) -> None:
    message = refusal([candidate("A", calls)], tmp_path, key="mine/sub/key.csv")
    assert message.startswith("the key file key.csv identifies patients and would lie inside mine")
    assert not (tmp_path / "mine").exists()
    (tmp_path / "file").touch()
    assert refusal([candidate("A", calls)], tmp_path, out="file").startswith("file is a file. Name a new")


def test_an_import_of_nobody_is_an_error_that_states_everybodys_reason(tmp_path: Path) -> None:
    assert refusal([faulty("A"), excluded("B")], tmp_path) == (
        "not one of 2 patient(s) could be imported\n"
        "  - sub-001 (line 12 of map.csv): no dose. Add it\n  - sub-002: no event"
    )
    assert import_table(tmp_path / "mine")[1] == ["sub-001", "failed", "no dose. Add it"]


def closed(*_: object) -> None:
    raise PermissionError(13, "Permission denied", "/export/Meier")


@pytest.mark.parametrize(
    ("name", "broken", "failed"),
    [
        ("write_text", full_disk, "mine: cannot be written into (No space left on device)"),
        (
            "write_description",
            full_disk,
            "dataset_description.json: cannot be written (No space left on device)",
        ),
        ("_write_tsv", full_disk, "mine: its tables cannot be written (No space left on device)"),
        ("_contents", closed, "mine: cannot be opened (Permission denied)"),
    ],
)
def test_what_the_file_system_refuses_is_reported_without_a_path(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, name: str, broken: object, failed: str
) -> None:
    (tmp_path / "mine").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(cohort_folder, name, broken)
        message = refusal([candidate("A", calls)], tmp_path)
    assert message == f"{failed}. Mend the cause, and give the same command again"
    run([candidate("A", calls)], tmp_path)
    assert len(read_table(tmp_path / "mine")) == 1
    (tmp_path / "Meier").touch()
    message = refusal([candidate("A", calls)], tmp_path, out="Meier/new")
    assert message.startswith("new: cannot be made (Not a directory). Mend the cause")
