"""Large files that the store and DVC's cache both hold are held once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from ricenet.runtime.store_share import CACHE, links_are_allowed, share_with_cache


def stored(project: Path, name: str, content: bytes) -> Path:
    path = project / "work/store/folds" / name / "weights.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def cached(project: Path, content: bytes, held: bytes | None = None) -> Path:
    name = hashlib.md5(content).hexdigest()
    path = project / CACHE / name[:2] / name[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(content if held is None else held)
    return path


def test_a_file_that_the_cache_holds_too_becomes_a_link_to_it(tmp_path: Path) -> None:
    weights = b"w" * 100_000
    path, other = stored(tmp_path, "1", weights), stored(tmp_path, "2", b"v" * 100_000)
    entry = cached(tmp_path, weights)
    assert share_with_cache(tmp_path) == 100_000
    assert path.samefile(entry) and path.read_bytes() == weights
    assert other.stat().st_nlink == 1
    assert share_with_cache(tmp_path) == 0


def test_what_mlflow_keeps_of_an_ensemble_is_held_once_too(tmp_path: Path) -> None:
    weights = b"w" * 100_000
    artifact = tmp_path / "mlflow/artifacts/1/artifacts/fold-0.safetensors"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(weights)
    assert share_with_cache(tmp_path) == 0
    entry = cached(tmp_path, weights)
    assert share_with_cache(tmp_path) == 100_000
    assert artifact.samefile(entry)


def test_a_preprocessed_volume_that_dvc_copied_is_one_file_again(tmp_path: Path) -> None:
    volume = b"x" * 100_000
    in_store, laid_out = stored(tmp_path, "1", volume), tmp_path / "work/preprocessed/sub-001/dose.npy"
    laid_out.parent.mkdir(parents=True)
    laid_out.write_bytes(volume)
    entry = cached(tmp_path, volume)
    assert share_with_cache(tmp_path) == 200_000
    assert in_store.samefile(entry) and laid_out.samefile(entry)


@pytest.mark.parametrize("held", [b"cut off", bytes(100_000)])
def test_small_files_are_left_alone_and_a_damaged_cache_replaces_nothing(tmp_path: Path, held: bytes) -> None:
    small, large = stored(tmp_path, "1", b"small"), stored(tmp_path, "2", b"w" * 100_000)
    cached(tmp_path, b"small")
    cached(tmp_path, b"w" * 100_000, held=held)
    assert share_with_cache(tmp_path) == 0
    assert (small.stat().st_nlink, large.stat().st_nlink) == (1, 1)
    assert large.read_bytes() == b"w" * 100_000


def test_a_project_without_store_or_cache_has_nothing_to_share(tmp_path: Path) -> None:
    assert share_with_cache(tmp_path) == 0


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        ('[core]\n    analytics = false\n[cache]\n    # why\n    type = "reflink,hardlink,copy"\n', True),
        ('[cache]\n    type = "reflink,copy"\n', False),
        ("[core]\n    analytics = false\n", False),
        (None, False),
    ],
)
def test_links_are_made_only_where_the_project_allows_them(
    config: str | None, allowed: bool, tmp_path: Path
) -> None:
    if config is not None:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config)
    assert links_are_allowed(tmp_path) is allowed


@pytest.mark.parametrize(("kinds", "links"), [("hardlink,copy", 2), ("reflink,copy", 1)])
def test_dvc_lays_out_links_in_the_demo_and_copies_beside_a_cohort_of_ones_own(
    kinds: str, links: int, tmp_path: Path
) -> None:
    # DVC 3.67: with "reflink,hardlink,copy" the files of a folder would be copies where there are no reflinks
    def dvc(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=tmp_path, check=True, capture_output=True)

    dvc("init", "--no-scm")
    dvc("config", "cache.type", kinds)
    command = "mkdir out && echo volume > out/v"
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  make:\n    cmd: {command}\n    outs: [out]\n")
    dvc("repro")
    assert (tmp_path / "out/v").stat().st_nlink == links
