"""Writing an imported cohort: nobody vanishes, nothing is half written, nothing identifies."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cohorts import read_table, write_tiny_subject
from test_stage_dependencies import INDIFFERENT, SOURCE, closure

from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExecutionParams
from ricenet.importing import cohort_folder as folder_module
from ricenet.importing import import_cohort as cohort_module
from ricenet.importing import key_file as key_module
from ricenet.importing import provenance
from ricenet.importing.import_cohort import Candidate, PatientOutcome, import_cohort, reasons
from ricenet.importing.key_file import read_key
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.runtime.files import read_json

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
PROCESSES = ExecutionParams(backend="processes", workers=2, threads_per_worker=1)
DESCRIPTIONS = {"site": "Where.", "days_post_op_to_event": "Days between the scans."}
LABELLED = {"label": "rice", "label_source": "biopsy", "subset": "n/a"}


@dataclass(frozen=True)
class Write:
    """Writes a tiny valid subject; notes each call in a file, so that also another process's counts."""

    calls: Path
    days: str = "184"

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        with self.calls.open("a") as stream:
            stream.write(f"{raw.subject}\n")
        write_tiny_subject(raw.cohort, raw.subject)
        return {"days_post_op_to_event": self.days}


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


def told(calls: Path) -> list[str]:
    names = calls.read_text().split()
    calls.write_text("")
    return sorted(names)


def candidate(patient_id: str, calls: Path, content: object = 1) -> Candidate:
    return Candidate(patient_id, LABELLED | {"site": "Ulm"}, Write(calls), content=content)


def run(
    candidates: Sequence[Candidate], tmp_path: Path, execution: ExecutionParams = SERIAL, out: str = "mine"
) -> tuple[PatientOutcome, ...]:
    key = tmp_path / "map.key.csv"
    return import_cohort(candidates, tmp_path / out, key, DESCRIPTIONS, {"License": "PDDL"}, execution)


def refusal(candidates: Sequence[Candidate], tmp_path: Path, out: str = "mine") -> str:
    with pytest.raises(CohortError) as refused:
        run(candidates, tmp_path, out=out)
    return str(refused.value)


def import_table(cohort: Path) -> list[list[str]]:
    return [line.split("\t") for line in (cohort / "import.tsv").read_text().splitlines()]


def all_text(folder: Path) -> str:
    names = " ".join(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return names + "".join(path.read_text("latin-1") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("execution", [SERIAL, PROCESSES], ids=["serial", "processes"])
def test_an_imported_cohort_passes_the_cohort_check(
    tmp_path: Path, calls: Path, execution: ExecutionParams
) -> None:
    outcomes = run([candidate("Meier", calls), candidate("Abt", calls)], tmp_path, execution)
    assert [(o.participant_id, o.status) for o in outcomes] == [
        ("sub-002", "imported"),
        ("sub-001", "imported"),
    ]
    assert admit(check_cohort(tmp_path / "mine"), exclude_faulty=False).subjects[0].label == "rice"
    assert read_table(tmp_path / "mine")[1] == {
        "participant_id": "sub-002",
        "label": "rice",
        "label_source": "biopsy",
        "subset": "n/a",
        "site": "Ulm",
        "days_post_op_to_event": "184",
    }


def test_the_description_says_who_made_the_cohort_and_every_column_has_a_meaning(
    tmp_path: Path, calls: Path
) -> None:
    run([candidate("Meier", calls)], tmp_path)
    description = read_json(tmp_path / "mine" / "dataset_description.json")
    assert (description["Name"], description["DatasetType"], description["License"]) == (
        "mine",
        "raw",
        "PDDL",
    )
    assert description["GeneratedBy"][0]["Name"] == "ricenet import"
    meanings = read_json(tmp_path / "mine" / "participants.json")
    assert meanings["site"] == {"Description": "Where."}
    assert list(read_table(tmp_path / "mine")[0]) == [
        *("participant_id", "label", "label_source", "subset", "site", "days_post_op_to_event"),
    ]
    assert set(meanings) == set(read_table(tmp_path / "mine")[0])


def test_a_missing_label_is_written_as_not_available(tmp_path: Path, calls: Path) -> None:
    run([replace(candidate("Meier", calls), columns={})], tmp_path)
    (row,) = read_table(tmp_path / "mine")
    assert (row["label"], row["subset"], row["site"]) == ("n/a", "n/a", "n/a")


def test_nothing_in_the_cohort_and_no_log_names_a_patient(
    tmp_path: Path, calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run([candidate("Meier", calls), Candidate("Abt", {}, exclusion="no dose")], tmp_path)
    assert not re.search("Meier|Abt|calls", all_text(tmp_path / "mine") + caplog.text)


def test_a_faulty_patient_neither_stops_the_others_nor_vanishes(tmp_path: Path, calls: Path) -> None:
    error = SourceError("several doses", "Choose one")
    faulty = Candidate("B", {}, Fail(error), origin="line 12 of map.csv")
    excluded = Candidate("C", {}, exclusion="no event")
    outcomes = run([candidate("A", calls), faulty, excluded], tmp_path)
    assert [o.status for o in outcomes] == ["imported", "failed", "excluded"]
    assert reasons(outcomes) == (
        "  - sub-002 (line 12 of map.csv): several doses. Choose one\n  - sub-003: no event"
    )
    assert import_table(tmp_path / "mine") == [
        ["participant_id", "status", "reason"],
        ["sub-001", "imported", "n/a"],
        ["sub-002", "failed", "several doses. Choose one"],
        ["sub-003", "excluded", "no event"],
    ]
    assert [row["participant_id"] for row in read_table(tmp_path / "mine")] == ["sub-001"]


def test_nothing_of_a_half_written_subject_stays(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls), Candidate("B", {}, Fail(SourceError("no dose", "Add it")))], tmp_path)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "dataset_description.json",
        "import.tsv",
        "participants.json",
        "participants.tsv",
        "sub-001",
    ]


def test_an_error_of_the_file_system_is_told_without_the_files_name(tmp_path: Path, calls: Path) -> None:
    error = PermissionError(13, "Permission denied", "/export/Meier/1.dcm")
    outcomes = run([candidate("A", calls), Candidate("Meier", {}, Fail(error))], tmp_path)
    assert outcomes[1].reason == (
        "a file could not be read or written (Permission denied). Mend the cause and import again"
    )


@pytest.mark.parametrize("execution", [SERIAL, PROCESSES], ids=["serial", "processes"])
def test_an_unforeseen_error_is_told_by_its_kind_alone(
    tmp_path: Path, calls: Path, execution: ExecutionParams, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Candidate("Meier", {}, Fail(ZeroDivisionError("Meier")))
    outcomes = run([candidate("A", calls), faulty], tmp_path, execution)
    assert outcomes[1].reason == (
        "an unforeseen ZeroDivisionError, a fault of the program. Report it with the log"
    )
    assert "Meier" not in all_text(tmp_path / "mine") + caplog.text
    assert "raise self.error" in caplog.text


def test_an_unchanged_subject_is_kept_with_its_columns(
    tmp_path: Path, calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run([candidate("A", calls)], tmp_path)
    before = read_table(tmp_path / "mine")
    assert told(calls) == ["sub-001"]
    with caplog.at_level(logging.INFO, logger="ricenet"):
        run([candidate("A", calls)], tmp_path)
    assert told(calls) == []
    assert "1 of 1 subjects are unchanged and kept" in caplog.text
    assert read_table(tmp_path / "mine") == before


def test_a_corrected_label_reaches_the_table_without_the_subject_being_written_again(
    tmp_path: Path, calls: Path
) -> None:
    run([candidate("A", calls)], tmp_path)
    told(calls)
    run([replace(candidate("A", calls), columns={"label": "recurrence"})], tmp_path)
    assert told(calls) == []
    assert read_table(tmp_path / "mine")[0]["label"] == "recurrence"


def test_a_changed_subject_alone_is_written_again(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    told(calls)
    run([candidate("A", calls), candidate("B", calls, content=2)], tmp_path)
    assert told(calls) == ["sub-002"]


@pytest.mark.parametrize(
    "lost",
    [
        "sub-001/ses-postop/rt/sub-001_ses-postop_dose.nii.gz",
        "sub-001/ses-event/anat/sub-001_ses-event_ce-gadolinium_T1w.nii.gz",
        "sub-001/sub-001_import.json",
    ],
)
def test_a_subject_that_lost_a_file_is_written_again(tmp_path: Path, calls: Path, lost: str) -> None:
    run([candidate("A", calls)], tmp_path)
    told(calls)
    (tmp_path / "mine" / lost).unlink()
    run([candidate("A", calls)], tmp_path)
    assert told(calls) == ["sub-001"]
    assert (tmp_path / "mine" / lost).is_file()


def test_columns_that_became_unreadable_are_written_again(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls)], tmp_path)
    told(calls)
    (tmp_path / "mine/sub-001/sub-001_import.json").write_text("{")
    run([candidate("A", calls)], tmp_path)
    assert told(calls) == ["sub-001"]


def test_a_second_call_goes_on_where_a_killed_one_stopped(tmp_path: Path, calls: Path) -> None:
    killed = [candidate("A", calls), Candidate("B", {}, Fail(KeyboardInterrupt()))]
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path)
    # what a kill, unlike an interruption, leaves behind
    (tmp_path / "mine/.partial-sub-002-x/sub-002").mkdir(parents=True)
    (tmp_path / "mine/.partial-y.json").touch()
    told(calls)
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    assert told(calls) == ["sub-002"]
    assert len(read_table(tmp_path / "mine")) == 2
    assert list((tmp_path / "mine").glob(".partial*")) == []


def test_a_folder_replaced_just_before_a_kill_is_not_taken_for_the_old_one(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([candidate("A", calls)], tmp_path)

    def killed_after_the_exchange(key: Path, subject: str, digest: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort_module, "record_digest", killed_after_the_exchange)
    with pytest.raises(KeyboardInterrupt):
        run([candidate("A", calls, content=2)], tmp_path)
    monkeypatch.undo()
    told(calls)
    run([candidate("A", calls)], tmp_path)
    assert told(calls) == ["sub-001"]


def kill_before_the_tables(
    candidates: Sequence[Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cohort_module, "write_tables", killed)
        run(candidates, tmp_path)


def test_a_cohort_whose_import_was_killed_before_the_tables_is_refused_until_it_is_ended(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([candidate("A", calls)], tmp_path)
    changed = [replace(candidate("A", calls, content=2), columns=LABELLED | {"label": "recurrence"})]
    kill_before_the_tables(changed, tmp_path, monkeypatch)
    assert read_table(tmp_path / "mine")[0]["label"] == "rice"
    with pytest.raises(CohortError, match=r"IMPORTING: import unfinished: it was killed"):
        admit(check_cohort(tmp_path / "mine"), exclude_faulty=True)
    told(calls)
    run(changed, tmp_path)
    assert told(calls) == []
    assert admit(check_cohort(tmp_path / "mine"), exclude_faulty=False).subjects[0].label == "recurrence"


def test_the_mark_is_there_before_the_first_subject_is_replaced(tmp_path: Path, calls: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run([Candidate("A", {}, Fail(KeyboardInterrupt()))], tmp_path)
    assert (tmp_path / "mine" / "IMPORTING").is_file()


def test_a_first_import_that_was_killed_at_once_may_be_given_again(tmp_path: Path, calls: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "IMPORTING").touch()
    assert run([candidate("A", calls)], tmp_path)[0].status == "imported"
    assert not (tmp_path / "mine" / "IMPORTING").exists()


def test_what_a_killed_import_noted_may_get_lost_without_an_old_digest_counting(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run([candidate("A", calls)], tmp_path)
    kill_before_the_tables([candidate("A", calls, content=2)], tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / ".map.key.csv.digests")
    told(calls)
    run([candidate("A", calls)], tmp_path)
    assert told(calls) == ["sub-001"]


def test_a_key_is_written_as_often_for_many_subjects_as_for_one(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = key_module.write_private_table, list[int]()

    def counted(path: Path, header: Sequence[str], rows: object) -> None:
        written.append(1)
        real(path, header, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(key_module, "write_private_table", counted)
    run([candidate("A", calls)], tmp_path)
    of_one = len(written)
    run([candidate(name, calls) for name in "ABCDEF"], tmp_path)
    assert of_one == len(written) - of_one == 2


@dataclass(frozen=True)
class ImportMeanwhile:
    """Writes a subject, and while it does starts another import into the same folder with another key."""

    calls: Path
    root: Path

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        with pytest.raises(CohortError, match=r"another import is using mine. Wait for its end"):
            import_cohort(
                [candidate("B", self.calls)],
                self.root / "mine",
                self.root / "b.csv",
                DESCRIPTIONS,
                {},
                SERIAL,
            )
        return Write(self.calls)(raw)


def test_a_folder_serves_one_import_at_a_time_whatever_their_keys(tmp_path: Path, calls: Path) -> None:
    (outcome,) = run([Candidate("A", LABELLED, ImportMeanwhile(calls, tmp_path))], tmp_path)
    assert outcome.status == "imported"
    assert (
        admit(check_cohort(tmp_path / "mine"), exclude_faulty=False).subjects[0].participant_id == "sub-001"
    )
    assert not list(tmp_path.glob("**/*.lock"))


@dataclass(frozen=True)
class Lose:
    """Writes a subject of which another program then takes a file away."""

    calls: Path
    lost: str

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        columns = Write(self.calls)(raw)
        next(raw.folder.rglob(self.lost)).unlink()
        return columns


@pytest.mark.parametrize("lost", ["*_dose.nii.gz", "*_dose.json", "sub-*_ses-event_*"])
def test_a_subject_of_which_a_file_vanished_is_not_put_in_its_place(
    tmp_path: Path, calls: Path, lost: str
) -> None:
    outcomes = run([candidate("A", calls), Candidate("B", LABELLED, Lose(calls, lost))], tmp_path)
    assert outcomes[1].reason.startswith(
        "files of the subject vanished while they were written. Let no other program work in the cohort's"
    )
    assert not (tmp_path / "mine" / "sub-002").exists()


def test_tables_that_cannot_be_written_are_told_without_a_path(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(folder_module, "_write_tsv", full)
        assert refusal([candidate("A", calls)], tmp_path) == (
            "mine: its tables cannot be written (No space left on device). "
            "Mend the cause, and give the same command again"
        )
    told(calls)
    run([candidate("A", calls)], tmp_path)
    assert told(calls) == [] and len(read_table(tmp_path / "mine")) == 1


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("write_text", "mine: cannot be written into"),
        ("write_json", "dataset_description.json: cannot be written"),
    ],
)
def test_a_full_disk_is_told_without_a_path(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch, name: str, failed: str
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(folder_module, name, full)
    assert refusal([candidate("A", calls)], tmp_path).startswith(f"{failed} (No space left on device). Mend")


def test_a_folder_that_cannot_be_made_or_opened_is_told_without_a_path(
    tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Meier").touch()
    message = refusal([candidate("A", calls)], tmp_path, out="Meier/mine")
    assert message.startswith("mine: cannot be made (Not a directory). Mend the cause")

    def closed(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "/export/Meier")

    monkeypatch.setattr(folder_module, "_contents", closed)
    (tmp_path / "mine").mkdir()
    message = refusal([candidate("A", calls)], tmp_path)
    assert message.startswith("mine: cannot be opened (Permission denied). Mend the cause")


def test_a_patient_who_fails_in_one_cohort_keeps_the_folder_in_another(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    faulty = Candidate("B", {}, Fail(SourceError("no dose", "Add it")), content=2)
    run([candidate("A", calls), faulty], tmp_path, out="second")
    outcomes = run([candidate("A", calls), candidate("B", calls)], tmp_path)
    assert [outcome.status for outcome in outcomes] == ["imported", "imported"]


def test_whatever_decides_a_subjects_files_counts_in_the_codes_digest() -> None:
    covered = {path for pattern in provenance.CODE for path in (SOURCE / "ricenet").glob(pattern)}
    writers = ("importing/subject.py", "importing/cfb_gbm/subject.py")
    reached = set().union(*(closure(SOURCE / "ricenet" / name, INDIFFERENT) for name in writers))
    assert len(reached) > 20
    assert sorted(str(path) for path in reached - covered) == []


def test_a_subject_that_can_no_longer_be_made_leaves_the_table_and_its_old_folder_is_told(
    tmp_path: Path, calls: Path
) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    faulty = Candidate("B", {}, Fail(SourceError("no dose", "Add it")), content=2)
    outcomes = run([candidate("A", calls), faulty], tmp_path)
    assert outcomes[1].reason == (
        "no dose. Add it. The folder sub-002 holds what an earlier import wrote: mend this, or remove it"
    )
    assert [row["participant_id"] for row in read_table(tmp_path / "mine")] == ["sub-001"]
    assert (tmp_path / "mine/sub-002").is_dir()


@pytest.mark.parametrize("now", [[], [Candidate("B", {}, exclusion="no event")]], ids=["absent", "excluded"])
def test_a_subject_that_is_no_longer_imported_stops_the_import_before_anything_is_written(
    tmp_path: Path, calls: Path, now: list[Candidate]
) -> None:
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    told(calls)
    message = refusal([candidate("A", calls, content=2), *now], tmp_path)
    assert message == (
        "mine holds sub-002, imported earlier and not to be imported now. "
        "Remove what is no longer wanted, or take the patients in again"
    )
    assert told(calls) == []


def test_new_patients_are_added_to_a_cohort(tmp_path: Path, calls: Path) -> None:
    run([candidate("B", calls)], tmp_path)
    told(calls)
    run([candidate("A", calls), candidate("B", calls)], tmp_path)
    assert told(calls) == ["sub-002"]
    assert read_key(tmp_path / "map.key.csv")["A"].participant_id == "sub-002"


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


def test_one_key_may_serve_two_cohorts(tmp_path: Path, calls: Path) -> None:
    run([candidate("A", calls)], tmp_path)
    run([candidate("A", calls, content=2)], tmp_path, out="second")
    told(calls)
    # the digest in the key is now that of the second cohort's subject
    run([candidate("A", calls, content=2)], tmp_path)
    assert told(calls) == ["sub-001"]


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "{}", json.dumps({"GeneratedBy": [{"Name": "fMRIPrep"}, 3]})]
)
def test_a_folder_that_holds_something_else_is_not_written_into(
    tmp_path: Path, calls: Path, content: str | None
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    if content is not None:
        (tmp_path / "mine" / "dataset_description.json").write_text(content)
    message = refusal([candidate("A", calls)], tmp_path)
    assert message.startswith(
        "mine holds files, and is no cohort that ricenet import wrote. Name a new folder"
    )
    assert told(calls) == []


def test_an_empty_folder_may_become_the_cohort_and_a_file_may_not(tmp_path: Path, calls: Path) -> None:
    (tmp_path / "mine").mkdir()
    run([candidate("A", calls)], tmp_path)
    (tmp_path / "file").touch()
    assert refusal([candidate("A", calls)], tmp_path, out="file").startswith(
        "file is a file. Name a new folder"
    )


def test_the_key_may_not_lie_inside_the_cohort(tmp_path: Path, calls: Path) -> None:
    key = tmp_path / "mine" / "sub" / "key.csv"
    with pytest.raises(
        CohortError, match=r"the key file key.csv identifies patients and would lie inside mine"
    ):
        import_cohort([candidate("A", calls)], tmp_path / "mine", key, DESCRIPTIONS, {}, SERIAL)
    assert not key.exists()


def test_an_import_of_nobody_is_an_error_that_tells_everybodys_reason(tmp_path: Path) -> None:
    faulty = Candidate("A", {}, Fail(SourceError("no dose", "Add it")), origin="line 2 of map.csv")
    message = refusal([faulty, Candidate("B", {}, exclusion="no event")], tmp_path)
    assert message == (
        "not one of 2 patient(s) could be imported\n"
        "  - sub-001 (line 2 of map.csv): no dose. Add it\n  - sub-002: no event"
    )
    assert import_table(tmp_path / "mine")[1] == ["sub-001", "failed", "no dose. Add it"]


def test_reasons_of_several_lines_stay_one_row(tmp_path: Path, calls: Path) -> None:
    faulty = Candidate("B", {}, exclusion="two\nlines\tand a tab")
    run([candidate("A", calls), faulty], tmp_path)
    assert import_table(tmp_path / "mine")[2] == ["sub-002", "excluded", "two lines and a tab"]
