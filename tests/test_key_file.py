"""Who is which subject: stable for ever, private, and refused where it is damaged."""

from __future__ import annotations

import fcntl
import stat
from pathlib import Path

import pytest

from ricenet.importing.key_file import KeyEntry, enrolled, held, read_key, write_key
from ricenet.runtime.errors import CohortError

SALT = "0123456789abcdef" * 2


def pseudonyms(entries: dict[str, KeyEntry]) -> dict[str, str]:
    return {patient: entry.participant_id for patient, entry in entries.items()}


def key_with(path: Path, *patient_ids: str) -> Path:
    write_key(path, enrolled({}, patient_ids))
    return path


def written_key(path: Path, rows: str, header: str = "patient_id,participant_id,salt") -> Path:
    path.write_text(f"{header}\n{rows}\n", encoding="utf-8")
    return path


def test_patients_are_numbered_in_order_of_their_id_whatever_their_order_in_the_map() -> None:
    assert pseudonyms(enrolled({}, ["B", "C", "A"])) == {"A": "sub-001", "B": "sub-002", "C": "sub-003"}


def test_who_has_a_pseudonym_keeps_it_and_new_patients_come_after() -> None:
    first = enrolled({}, ["B", "C"])
    now = enrolled(first, ["A", "C"])
    assert pseudonyms(now) == {"B": "sub-001", "C": "sub-002", "A": "sub-003"}
    assert now["C"] == first["C"]


def test_numbers_go_on_after_the_highest_not_into_a_gap() -> None:
    entries = {"A": KeyEntry("A", "sub-007", SALT), "B": KeyEntry("B", "sub-HD12", SALT)}
    assert enrolled(entries, ["C"])["C"].participant_id == "sub-008"


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = enrolled({}, ["Müller, Ä;", "B"])
    write_key(tmp_path / "map.key.csv", entries)
    assert read_key(tmp_path / "map.key.csv") == entries
    assert len({entry.salt for entry in entries.values()}) == 2


def test_a_key_that_is_not_there_knows_nobody(tmp_path: Path) -> None:
    assert read_key(tmp_path / "map.key.csv") == {}


def test_a_key_behind_a_link_that_leads_nowhere_is_not_begun_anew(tmp_path: Path) -> None:
    # everybody would get another pseudonym
    (tmp_path / "map.key.csv").symlink_to("nowhere")
    with pytest.raises(CohortError, match=r"^map.key.csv: no such file"):
        read_key(tmp_path / "map.key.csv")


def test_a_key_of_an_earlier_version_gets_salts(tmp_path: Path) -> None:
    key = written_key(tmp_path / "map.key.csv", f"A,sub-001,{SALT}{SALT}", "patient_id,participant_id,digest")
    entry = read_key(key)["A"]
    assert len(entry.salt) == 32 and entry == KeyEntry("A", "sub-001", entry.salt)


def test_only_its_owner_may_read_a_key(tmp_path: Path) -> None:
    assert stat.S_IMODE(key_with(tmp_path / "map.key.csv", "A").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("rows", "faults"),
    [
        (f",sub-001,{SALT}", ["line 2: no patient_id"]),
        (f"Meier,sub-001,{SALT}\nMeier,sub-002,{SALT}", ["line 3: a patient_id that occurs before"]),
        (f"Meier,sub-001,{SALT}\nSchulz,sub-001,{SALT}", ["line 3: a participant_id that occurs before"]),
        (f"Meier,sub-A,{SALT}\nSchulz,sub-a,{SALT}", ["line 3: a participant_id that occurs before"]),
        (f"Meier,Meier,{SALT}", ["line 2: a participant_id other than sub-<letters and digits>"]),
        (f"Meier,sub-001,{SALT[:-1]}", ["line 2: a damaged salt"]),
        ("Meier,sub-001", ["line 2: 2 cell(s) under 3 column(s)"]),
        ("Meier,x,\nSchulz,y,", ["map.key.csv: 2 problem(s)", "line 2: a part", "line 3: a part"]),
    ],
)
def test_a_damaged_key_is_refused_with_all_faults_and_without_a_name(
    tmp_path: Path, rows: str, faults: list[str]
) -> None:
    with pytest.raises(CohortError) as refused:
        read_key(written_key(tmp_path / "map.key.csv", rows))
    assert all(fault in str(refused.value) for fault in faults)
    assert "Meier" not in str(refused.value)


@pytest.mark.parametrize("patient_id", ["=1+1", "'=1", "''", "-7", "@a", "17\u00a0", "17\t", "a\rb", "a\nb"])
def test_no_patient_id_changes_on_its_way_through_the_key(tmp_path: Path, patient_id: str) -> None:
    key = key_with(tmp_path / "map.key.csv", patient_id, "B")
    assert pseudonyms(read_key(key)) == pseudonyms(enrolled({}, [patient_id, "B"]))


def test_a_key_serves_one_import_at_a_time(tmp_path: Path) -> None:
    key = tmp_path / "map.key.csv"
    with held(key):
        with pytest.raises(CohortError, match=r"another import is using map.key.csv. Wait"), held(key):
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

    key = tmp_path / "map.key.csv"
    monkeypatch.setattr(fcntl, "flock", removed_meanwhile)
    with held(key):
        assert len(calls) == 2 and path.exists()
        with pytest.raises(CohortError, match=r"another import is using map.key.csv"), held(key):
            pass


def test_a_place_that_cannot_be_written_is_reported_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "Meier").touch()
    key = tmp_path / "Meier" / "map.key.csv"
    mend = r" \(File exists\). Mend the cause, and give the same command again$"
    with pytest.raises(CohortError, match=f"^map.key.csv: cannot be written{mend}"):
        key_with(key, "A")
    with pytest.raises(CohortError, match=f"^map.key.csv: cannot be locked{mend}"), held(key):
        pass
