"""Who is which subject: stable for ever, private, and refused where it is damaged."""

from __future__ import annotations

import fcntl
import multiprocessing
import stat
from pathlib import Path

import pytest

from ricenet.importing.key_file import (
    UNFINISHED,
    KeyEntry,
    enrolled,
    held,
    read_key,
    record_digest,
    write_key,
)
from ricenet.runtime.errors import CohortError

DIGEST = "0123456789abcdef" * 4


def pseudonyms(entries: dict[str, KeyEntry]) -> dict[str, str]:
    return {patient: entry.participant_id for patient, entry in entries.items()}


def key_with(path: Path, *patient_ids: str) -> Path:
    write_key(path, enrolled({}, patient_ids))
    return path


def test_patients_are_numbered_in_order_of_their_id_whatever_their_order_in_the_map() -> None:
    assert pseudonyms(enrolled({}, ["B", "C", "A"])) == {"A": "sub-001", "B": "sub-002", "C": "sub-003"}


def test_who_has_a_pseudonym_keeps_it_and_new_patients_come_after() -> None:
    first = enrolled({}, ["B", "C"])
    assert pseudonyms(enrolled(first, ["A", "C"])) == {"B": "sub-001", "C": "sub-002", "A": "sub-003"}


def test_numbers_go_on_after_the_highest_not_into_a_gap() -> None:
    entries = {"A": KeyEntry("A", "sub-007"), "B": KeyEntry("B", "sub-HD12")}
    assert enrolled(entries, ["C"])["C"].participant_id == "sub-008"


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = {"Müller, Ä;": KeyEntry("Müller, Ä;", "sub-001", DIGEST), "B": KeyEntry("B", "sub-002")}
    write_key(tmp_path / "map.key.csv", entries)
    assert read_key(tmp_path / "map.key.csv") == entries


def test_a_key_that_is_not_there_knows_nobody(tmp_path: Path) -> None:
    assert read_key(tmp_path / "map.key.csv") == {}


def test_only_its_owner_may_read_a_key_also_after_a_digest_was_noted(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", "A")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    record_digest(key, "sub-001", DIGEST)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_key(key)["A"].digest == DIGEST


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (",sub-001,", "line 2: no patient_id"),
        ("Meier,sub-001,\nMeier,sub-002,", "line 3: a patient_id that occurs before"),
        ("Meier,sub-001,\nSchulz,sub-001,", "line 3: a participant_id that occurs before"),
        ("Meier,sub-A,\nSchulz,sub-a,", "line 3: a participant_id that occurs before"),
        ("Meier,Meier,", "line 2: a participant_id other than sub-<letters and digits>"),
        (f"Meier,sub-001,{DIGEST[:-1]}", "line 2: a damaged digest"),
        ("Meier,sub-001", r"line 2: 2 cell\(s\) under 3 column\(s\)"),
    ],
)
def test_a_damaged_key_is_refused_without_telling_whom_it_lists(
    tmp_path: Path, rows: str, fault: str
) -> None:
    key = tmp_path / "map.key.csv"
    key.write_text(f"patient_id,participant_id,digest\n{rows}\n", encoding="utf-8")
    with pytest.raises(CohortError, match=fault) as refused:
        read_key(key)
    assert "Meier" not in str(refused.value)


def test_all_faults_of_a_key_are_told_together(tmp_path: Path) -> None:
    key = tmp_path / "map.key.csv"
    key.write_text("patient_id,participant_id,digest\nA,x,\nB,y,\n", encoding="utf-8")
    with pytest.raises(CohortError, match=r"(?s)map.key.csv: 2 problem\(s\).*line 2.*line 3"):
        read_key(key)


def test_a_digest_of_a_subject_that_the_key_does_not_know_counts_for_nobody(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", "A")
    record_digest(key, "sub-002", DIGEST)
    assert read_key(key) == {"A": KeyEntry("A", "sub-001")}


def test_noting_a_digest_does_not_write_the_key_itself(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", *"ABCD")
    before = key.stat()
    record_digest(key, "sub-001", DIGEST)
    after = key.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_digests_noted_before_the_key_was_written_count_no_longer(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", "A")
    record_digest(key, "sub-001", DIGEST)
    write_key(key, {"A": KeyEntry("A", "sub-001", UNFINISHED)})
    assert read_key(key)["A"].digest == UNFINISHED
    assert [path.name for path in tmp_path.iterdir()] == ["map.key.csv"]


def test_a_note_that_is_no_digest_is_passed_over(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", "A")
    write_key(key, {"A": KeyEntry("A", "sub-001", UNFINISHED)})
    record_digest(key, "sub-001", DIGEST[:-1])
    assert read_key(key)["A"].digest == UNFINISHED


@pytest.mark.parametrize("patient_id", ["=1+1", "'=1", "''", "-7", "@a", "17\u00a0", "17\t", "a\rb", "a\nb"])
def test_no_patient_id_changes_on_its_way_through_the_key(tmp_path: Path, patient_id: str) -> None:
    key = key_with(tmp_path / "map.key.csv", patient_id, "B")
    assert pseudonyms(read_key(key)) == pseudonyms(enrolled({}, [patient_id, "B"]))


def test_a_key_that_cannot_be_written_is_told_without_its_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "Meier").touch()
    with pytest.raises(CohortError) as refused:
        key_with(tmp_path / "Meier" / "map.key.csv", "A")
    assert str(refused.value) == (
        "map.key.csv: cannot be written (File exists). Mend the cause, and give the same command again"
    )


def note_digest(key: Path, participant_id: str) -> None:
    record_digest(key, participant_id, DIGEST)


def test_digests_that_processes_note_at_once_are_all_kept(tmp_path: Path) -> None:
    key = key_with(tmp_path / "map.key.csv", *"ABCDEFGH")
    subjects = [entry.participant_id for entry in read_key(key).values()]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(note_digest, [(key, subject) for subject in subjects], chunksize=1)
    assert {entry.digest for entry in read_key(key).values()} == {DIGEST}


def test_a_key_serves_one_import_at_a_time(tmp_path: Path) -> None:
    key = tmp_path / "map.key.csv"
    with held(key):
        with (
            pytest.raises(CohortError, match=r"another import is using map.key.csv. Wait for its end"),
            held(key),
        ):
            pass
        with held(tmp_path / "other.key.csv"):
            pass
    with held(key):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_last_user_just_removed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, path = fcntl.flock, tmp_path / ".map.key.csv.import.lock"
    calls: list[int] = []

    def removed_meanwhile(stream: object, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            path.unlink()
        real(stream, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with held(tmp_path / "map.key.csv"):
        assert len(calls) == 2 and path.exists()
        with (
            pytest.raises(CohortError, match=r"another import is using map.key.csv"),
            held(tmp_path / "map.key.csv"),
        ):
            pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "Meier").touch()
    with (
        pytest.raises(CohortError, match=r"^map.key.csv: cannot be locked \(File exists\)"),
        held(tmp_path / "Meier" / "map.key.csv"),
    ):
        pass
