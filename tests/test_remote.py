"""A finished project goes by a remote into a colleague's clone: nothing is computed or voted again."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloned_project import OF_EVERY_RUN, stages_run
from remote_project import VOTED, Origin
from s3_server import S3Server, s3_server
from tracked_project import PREFIX, store_of

from ricenet.runtime.files import read_json
from ricenet.tracking.registry import champions

pytestmark = pytest.mark.timeout(900)

PULL = ("pull", "--with-deps", "register")
SCAN = "data/mine/sub-001/ses-event/anat/sub-001_ses-event_ce-gadolinium_T1w.nii.gz"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Origin:
    """Anna's project, pushed to a folder that she shares with her group."""
    folder = tmp_path_factory.mktemp("remote")
    origin = Origin(folder / "anna", tiny)
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    origin.dvc("remote", "add", "--quiet", "--default", "lab", str(shared))
    origin.dvc("remote", "modify", "lab", "verify", "true")
    origin.commit()
    before = os.umask(0o007)
    try:
        origin.dvc("push", "--quiet")
    finally:
        os.umask(before)
    return origin


@pytest.fixture(scope="module")
def shared(origin: Origin) -> Path:
    return origin.folder.with_name("shared")


def held_in(remote: Path, content: Path) -> Path:
    """Where the remote keeps a file: DVC names what it keeps by MD5."""
    files = (path for path in remote.rglob("*") if path.is_file())
    (found,) = (path for path in files if path.read_bytes() == content.read_bytes())
    return found


def test_a_colleague_pulls_and_repro_fills_mlflow_alone(origin: Origin, tmp_path: Path) -> None:
    bert = origin.cloned(tmp_path / "bert")
    origin.dvc(*PULL, at=bert)
    assert not (bert / "work/store").exists()
    # the cohort comes along as well: what git ignores, DVC does not see either
    assert (bert / SCAN).read_bytes() == (origin.folder / SCAN).read_bytes()
    said = origin.dvc("repro", at=bert)
    assert stages_run(said) == OF_EVERY_RUN
    # the ledger, registered.json, the folds and dvc.lock are as Anna committed them
    assert origin.clone.run("git", "status", "--porcelain", at=bert).stdout == ""
    votes = "work/vote/vote.json"
    assert (bert / votes).read_bytes() == (origin.folder / votes).read_bytes()
    # MLflow has it all, the champion that voted included
    store = store_of(bert)
    assert {name: found.digest for name, found in champions(store, PREFIX).items()} == {
        VOTED: read_json(bert / votes)[VOTED]["digest"]
    }
    names = {str(run.info.run_name) for run in store.client().search_runs([store.experiment_id])}
    theirs = store_of(origin.folder)
    assert names == {str(run.info.run_name) for run in theirs.client().search_runs([theirs.experiment_id])}
    # the stages close the doors that git and DVC leave open
    doors = [bert / name for name in ("work", "data", "models", "mlflow", ".dvc/cache")]
    assert [stat.S_IMODE(door.stat().st_mode) for door in doors] == [0o700] * len(doors)


def test_a_preprocessed_subject_is_one_file_in_store_cache_and_output(origin: Origin) -> None:
    (kept,) = (origin.folder / "work/store/subjects").rglob("brain.npy")
    laid_out = origin.folder / "work/preprocessed/sub-009/brain.npy"
    assert kept.samefile(laid_out) and kept.stat().st_nlink == 3
    (cached,) = (p for p in (origin.folder / ".dvc/cache").rglob("*") if p.is_file() and p.samefile(kept))
    assert cached.is_relative_to(origin.folder / ".dvc/cache/files/md5")


def test_git_takes_the_cohorts_name_and_hash_and_none_of_its_volumes(origin: Origin) -> None:
    tracked = origin.clone.run("git", "ls-files", "data", "data.dvc").stdout.split()
    assert tracked == ["data.dvc", "data/mine.dvc"]


def test_a_shared_folder_is_its_groups_alone(shared: Path) -> None:
    folders = [shared, *(path for path in shared.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o777 for path in folders} == {0o770}


def test_a_missing_object_is_named_by_its_subjects_file_and_comes_back(
    origin: Origin, shared: Path, tmp_path: Path
) -> None:
    lost = held_in(shared, origin.folder / SCAN)
    lost.unlink()
    bert = origin.cloned(tmp_path / "bert")
    said = origin.dvc("pull", "data/mine.dvc", at=bert, check=False)
    assert ("failed to transfer" in said and "1 files failed" in said) or "failed to download" in said
    assert not (bert / "data/mine").exists()
    named = origin.dvc("data", "status", "--granular", "--not-in-remote", at=bert)
    assert SCAN in named.partition("Not in remote:")[2].partition("DVC uncommitted")[0]
    # DVC takes a list of files that is there for a folder that is there; without the list it looks
    origin.dvc("push", "data/mine.dvc")
    assert not lost.exists()
    within = SCAN.removeprefix("data/mine/")
    (listed,) = (path for path in shared.rglob("*.dir") if within in path.read_text())
    listed.unlink()
    origin.dvc("push", "data/mine.dvc")
    assert lost.read_bytes() == (origin.folder / SCAN).read_bytes()


def test_a_damaged_object_is_refused_and_named(origin: Origin, shared: Path, tmp_path: Path) -> None:
    damaged = held_in(shared, origin.folder / SCAN)
    kept = damaged.read_bytes()
    damaged.chmod(0o600)
    damaged.write_bytes(kept[:-1] + b"?")
    bert = origin.cloned(tmp_path / "bert")
    try:
        said = origin.dvc("pull", "data/mine.dvc", at=bert, check=False)
        assert "failed to pull data from the cloud" in said and not (bert / "data/mine").exists()
        named = origin.dvc("data", "status", "--granular", at=bert)
        assert SCAN in named.partition("Not in cache:")[2].partition("DVC uncommitted")[0]
    finally:
        damaged.write_bytes(kept)
    origin.dvc("pull", "data/mine.dvc", at=bert)
    assert (bert / SCAN).read_bytes() == (origin.folder / SCAN).read_bytes()


def test_a_folder_that_is_away_is_an_error_and_changes_nothing(
    origin: Origin, shared: Path, tmp_path: Path
) -> None:
    bert = origin.cloned(tmp_path / "bert")
    shared.rename(shared.with_name("unmounted"))
    try:
        said = origin.dvc("pull", "data/mine.dvc", at=bert, check=False)
    finally:
        shutil.rmtree(shared, ignore_errors=True)
        shared.with_name("unmounted").rename(shared)
    assert "do not exist neither locally nor on remote" in said and "failed to pull" in said
    assert not (bert / "data/mine").exists()


# --- S3 ---


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3"), "rice-net") as server:
        yield server


def test_the_same_by_s3_with_credentials_that_stay_out_of_git(
    origin: Origin, server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = server.credentials
    secret = credentials["AWS_SECRET_ACCESS_KEY"]
    place = {
        "url": "s3://rice-net/project",
        "endpointurl": server.url,
        "verify": "true",
        "region": "us-east-1",
    }
    origin.configure("config", place)
    origin.configure(
        "config.local", {"access_key_id": credentials["AWS_ACCESS_KEY_ID"], "secret_access_key": secret}
    )
    origin.commit()
    committed = origin.clone.run("git", "show", "--name-only", "--format=", "HEAD").stdout.split()
    assert committed == [".dvc/config"] and secret not in (origin.folder / ".dvc/config").read_text()
    origin.dvc("push", "--quiet")

    bert = origin.cloned(tmp_path / "bert")
    # one attempt suffices to be refused
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = origin.dvc(*PULL, at=bert, check=False)
    assert "failed to connect to s3" in said and "Forbidden" in said
    assert not (bert / "work").exists()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    origin.dvc(*PULL, at=bert)
    assert (bert / SCAN).read_bytes() == (origin.folder / SCAN).read_bytes()
    # nothing would run but what runs each time, as by the folder
    said = origin.dvc("status", "dvc.yaml", at=bert)
    stale = [line.rstrip(":") for line in said.splitlines() if line and not line.startswith("\t")]
    assert set(stale) == OF_EVERY_RUN

    server.kill()
    shutil.rmtree(bert / ".dvc/cache")
    said = origin.dvc("pull", "data/mine.dvc", "--force", at=bert, check=False)
    assert "Could not connect to the endpoint URL" in said
    assert (bert / SCAN).is_file()
