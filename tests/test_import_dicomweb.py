"""`ricenet import dicomweb`: what a PACS holds of listed patients is imported as their export would be."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from dicom_trees import TinyExport, edit, write_tiny_export
from orthanc_server import Orthanc
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.proposal import propose_map
from ricenet.importing.series_map import ProposedRow
from ricenet.vocabulary import PAPER_VOLUMES

IDENTIFYING = re.compile(r"ANON|Secret|Sibylle|1957|2\.25\.|2020")

Fetch = Callable[..., Result]


@pytest.fixture(scope="session")
def two_exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyExport, TinyExport]:
    """One patient with a CT, whose dose lies in its frame of reference, and another without; read only."""
    folder = tmp_path_factory.mktemp("exports")
    one = write_tiny_export(folder, "ANON-17", shared_frame=False, with_ct=True)
    return one, write_tiny_export(folder, "ANON-18")


@pytest.fixture
def filled(orthanc: Orthanc, two_exports: tuple[TinyExport, TinyExport]) -> Orthanc:
    orthanc.store(sorted(two_exports[0].folder.rglob("*.bin")))
    return orthanc


def listed(tmp_path: Path, *rows: str, header: str = "patient_id") -> Path:
    patients = tmp_path / "list.csv"
    patients.write_text("\n".join([header, *rows]) + "\n")
    patients.chmod(0o600)
    return patients


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """The command, whose output names nobody."""

    def call(url: str, patients: Path, *options: str) -> Result:
        words = ["import", "dicomweb", url, "--patients", str(patients), "--requests-per-s", "1000", *options]
        result = CliRunner().invoke(app, words)
        assert not IDENTIFYING.search(result.output), result.output
        return result

    return call


def proposed(folder: Path) -> tuple[ProposedRow, ...]:
    return propose_map(read_tree(folder), PAPER_VOLUMES)


def test_a_pacs_gives_the_map_that_the_export_gives(
    filled: Orthanc, two_exports: tuple[TinyExport, TinyExport], tmp_path: Path, fetch: Fetch
) -> None:
    result = fetch(filled.dicomweb, listed(tmp_path, "ANON-17", "ANON-18"))
    assert result.exit_code == 0, result.output
    assert proposed(tmp_path / "list.dicom") == proposed(two_exports[0].folder)
