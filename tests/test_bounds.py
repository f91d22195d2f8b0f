"""Files without bounds, or that can be understood in two ways, are refused at once and with a message."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from dicom_edits import change, numbered, setting, write_series
from sqlalchemy.exc import OperationalError

from ricenet.cli.running import mendable_errors
from ricenet.cohort.settled_places import read_places
from ricenet.config.params import read_yaml
from ricenet.config.tuned import Tuned, read_tuned
from ricenet.importing.dicom import datasets
from ricenet.importing.dicom.datasets import read_file
from ricenet.importing.dicom.pixels import stored_values
from ricenet.runtime import files, full_disk
from ricenet.runtime.errors import (
    ParamsError,
    RegistryError,
    RicenetError,
    SourceError,
    SplitError,
    TrainingError,
)
from ricenet.runtime.files import read_json, write_json
from ricenet.runtime.ray.cluster import require_token_file
from ricenet.tracking.connection import mlflow_errors
from ricenet.tracking.settled import unless_unchanged
from ricenet.training.tuning.trial import note_in_use

DEFLATED = "1.2.840.10008.1.2.1.99"
PLACES = (
    '{"cohort": "c", "seed": 1, "test_fraction": 0.2, "folds": [["sub-1"], ["sub-2"]], "test": ["sub-3"]}'
)
TUNED = '{"dose": {"folds": [{"training.learning_rate": 0.1}]}}'


def laughs(depth: int = 12) -> str:
    """A list of ten names for a list of ten names and so on, which would hold 10**depth values."""
    lines = ["a0: &a0 [1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (laughs(), "holds more than 20000 values"),
        ("a: &a [*a]", "nested too deep"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 1\na: 2", "not valid YAML"),
    ],
    ids=["names for names", "a list within itself", "deep", "a number of 5000 digits", "a key twice"],
)
def test_a_parameter_file_without_bounds_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match=told):
        read_yaml(tmp_path / "params.yaml")


def test_a_parameter_file_beyond_a_megabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("#" * (2**20 + 1))
    with pytest.raises(OSError, match="Larger than 1 MB"):
        read_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"seed": 1', '"seed": 1, "seed": 2'),
        ('[["sub-1"], ["sub-2"]]', "[" * 100 + "]" * 100),
        ('"seed": 1', '"seed": ' + "9" * 400),
    ],
    ids=["a key twice", "deep", "400 digits"],
)
def test_a_record_of_folds_that_says_two_things_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(PLACES)
    assert read_places(path) is not None
    path.write_text(PLACES.replace(old, new))
    with pytest.raises(SplitError, match=r"is not a record of who is in which fold; restore it"):
        read_places(path)


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    path = tmp_path / "folds.json"
    put(path)
    with pytest.raises(SplitError, match=r"is not a record of who is in which fold"):
        read_places(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TUNED.replace('"folds"', '"folds": [], "folds"'), r"has a key twice with different values"),
        (TUNED.replace("0.1", "1" + "0" * 400), r"a number that is too large"),
        ("[" * 100 + "]" * 100, r"nested more than 64 deep"),
        ("{", r"not well-formed JSON"),
        ('{"dose": {}}', r"is damaged: dose.folds"),
    ],
)
def test_tuned_settings_that_say_two_things_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "best.json"
    path.write_text(TUNED)
    assert read_tuned(path) == Tuned({"dose": [{"training.learning_rate": 0.1}]})
    path.write_text(text)
    with pytest.raises(TrainingError, match=told):
        read_tuned(path)


def test_a_dicom_file_that_announces_more_than_any_scan_is_not_decoded(tmp_path: Path) -> None:
    path = write_series(tmp_path, numbered())[0]
    assert stored_values(read_file(path, pixels=True)).ndim == 3
    change(path, setting(Rows=65535, Columns=65535))
    with pytest.raises(SourceError, match=r"pixel data of 8 GiB by the header, at most 2 expected"):
        stored_values(read_file(path, pixels=True))


@pytest.mark.parametrize(
    "written",
    [lambda b: b, lambda b: b[:132] + b[144:], lambda b: b[132:]],
    ids=["as-usual", "without-group-length", "without-preamble"],
)
def test_a_deflated_dicom_file_is_inflated_only_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[bytes], bytes]
) -> None:
    path = write_series(tmp_path, numbered(), transfer_syntax_uid=DEFLATED)[0]
    path.write_bytes(written(path.read_bytes()))
    assert len(read_file(path).dataset) > 10
    monkeypatch.setattr(datasets, "MOST_INFLATED_BYTES", 100)
    with pytest.raises(SourceError, match="a deflated file of more than"):
        read_file(path)


# ---- what spares work, and is damaged


@pytest.mark.parametrize("damage", ["", "{", "[1, 2", '"text"'])
def test_what_only_spares_work_is_made_anew_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = []
    assert unless_unchanged("x", None, [], lambda: asked.append(1) or "answer") == "answer"
    (tmp_path / "work/settled/x.json").write_text(damage)
    assert unless_unchanged("x", None, [], lambda: asked.append(1) or "answer") == "answer"
    assert unless_unchanged("x", None, [], lambda: asked.append(1) or "answer") == "answer"
    assert len(asked) == 2
    (tmp_path / "in_use.json").write_text(damage)
    note_in_use(tmp_path, ["ab"])
    assert read_json(tmp_path / "in_use.json") == ["ab"]


def test_a_stages_result_that_is_damaged_is_named_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("")
    with pytest.raises(SystemExit), mendable_errors("stage x"):
        read_json(tmp_path / "summary.json")
    assert (
        "summary.json is not well-formed JSON (line 1). Restore it, or delete it" in capsys.readouterr().err
    )


# ---- a full disk


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_with_the_file_what_it_needs_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", ["old"])
    monkeypatch.setattr(full_disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"the disk is full: a\.json needs 3\.0 MB, 7 bytes are free") as told:
        write_json(tmp_path / "a.json", "x" * 3_000_000)
    assert told.value.errno == errno.ENOSPC and "partial" not in str(told.value)
    assert (tmp_path / "a.json").read_text() == '[\n  "old"\n]\n'


def test_what_fails_while_it_is_synced_does_not_take_the_place_of_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems notice only then that there is no room."""
    write_json(tmp_path / "a.json", ["old"])
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"the disk is full: a\.json needs"):
        write_json(tmp_path / "a.json", ["new"])
    monkeypatch.undo()
    assert (tmp_path / "a.json").read_text() == '[\n  "old"\n]\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/model.safetensors"),
            r"model\.safetensors finds",
        ),
        (
            OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full")),
            r"the disk is full: mlflow\.db finds no room, [\d.]+ \w+ are free\. Make room",
        ),
    ],
)
def test_a_full_disk_of_mlflow_is_told_as_one_and_without_sql(
    tmp_path: Path, error: Exception, told: str
) -> None:
    with pytest.raises(RegistryError, match=told) as caught, mlflow_errors(f"sqlite:///{tmp_path}/mlflow.db"):
        raise error
    assert "INSERT" not in str(caught.value) and "tracking.uri" not in str(caught.value)


def test_a_full_disk_of_a_server_is_the_servers() -> None:
    error = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    with pytest.raises(RegistryError, match=r"the disk of its server is full"), mlflow_errors("http://host"):
        raise error


# ---- Ray's token


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda path: None, r"a file that cannot be read \(No such file or directory\): .*token"),
        (lambda path: path.write_text("\n"), r"a file that is empty"),
        (lambda path: path.mkdir(), r"a file that cannot be read \(no regular file"),
        (os.mkfifo, r"a file that cannot be read \(no regular file"),
    ],
    ids=["missing", "empty", "a folder", "a pipe"],
)
def test_a_token_file_that_holds_no_token_is_named(
    tmp_path: Path, prepare: Callable[[Path], object], told: str
) -> None:
    prepare(tmp_path / "token")
    asked = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    with pytest.raises(RicenetError, match=f"RAY_AUTH_TOKEN_PATH names {told}"):
        require_token_file(asked)
    # the variable that holds the token itself comes first
    require_token_file(asked | {"RAY_AUTH_TOKEN": "secret"})


def test_a_token_file_with_a_token_is_fine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    require_token_file({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")})
    require_token_file({})
