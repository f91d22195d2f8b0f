"""Real data sets on disk with what is known of them: for `make real-data DIR=FOLDER` (docs/real-data.md).

FOLDER holds a folder a data set. What is expected of it is its own `expected.json`, or for a public one that
is known here the file of its name in `tests/real_data`.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.volume import Grid, Volume, load_nifti, save_nifti

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).parent / "real_data"
VARIABLE = "RICENET_REAL_DATA"
SUBJECT, COHORT = "sub-001", "data/real"
STAGES = ("check_cohort", "preprocess", "quality")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExpectedVolume(_Strict):
    """file: NIfTI or NRRD, relative to the data set."""

    file: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


class ExpectedDose(_Strict):
    """The only RTDOSE of the data set, in Gy."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    max_gy: float


class ExpectedDicom(_Strict):
    """slices: of every series, by modality, ascending. proposal: of `ricenet import dicom`, by status.
    refused: words of the import's error where the data set is no patient's whole course.
    """

    slices: dict[str, list[int]]
    proposal: dict[str, int]
    refused: str | None = None


class Expected(_Strict):
    """What is known of a data set.

    unpack: an archive in it to look into instead. subject: what one subject is made of: by the name of a
    declared volume a file, or of a DICOM series the number of its slices. cohort: the folder of a raw cohort.
    read_by: tests of their own that read it, as those of a collection's tables.
    brain_ml: between which the brain of the subject, or of the cohort's first, lies.
    """

    source: str
    licence: str
    unpack: str | None = None
    volumes: tuple[ExpectedVolume, ...] = ()
    dicom: ExpectedDicom | None = None
    dose: ExpectedDose | None = None
    subject: dict[str, str | int] = {}
    cohort: str | None = None
    read_by: str | None = None
    brain_ml: tuple[float, float] = (900, 2000)


@dataclass(frozen=True)
class RealDataset:
    """A folder, never written to, and what is known of it; None where nothing is."""

    folder: Path
    expected: Expected | None

    def content(self, scratch: Path) -> Path:
        """The folder of its files, unpacked into `scratch` where they are in an archive."""
        if self.expected is None or self.expected.unpack is None:
            return self.folder
        with tarfile.open(self.folder / self.expected.unpack) as archive:
            archive.extractall(scratch, filter="data")
        return scratch


def real_datasets() -> list[RealDataset]:
    """Those of the folder that the environment names, or none."""
    if not (root := os.environ.get(VARIABLE)):
        return []
    found = []
    for folder in sorted(path for path in Path(root).iterdir() if path.is_dir()):
        files = [folder / "expected.json", KNOWN / f"{folder.name}.json"]
        known = next((path for path in files if path.is_file()), None)
        expected = None if known is None else Expected.model_validate_json(known.read_text(encoding="utf-8"))
        found.append(RealDataset(folder, expected))
    return found


def read_volume(path: Path) -> Volume:
    """NIfTI as the pipeline reads it; other formats by way of SimpleITK."""
    if path.name.endswith((".nii", ".nii.gz")):
        return load_nifti(path)
    import numpy as np
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    x, y, z = image.GetSize()
    return Volume(
        sitk.GetArrayFromImage(image).transpose(2, 1, 0), Grid((x, y, z), np.diag([-1.0, -1, 1, 1]) @ affine)
    )


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a project's folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, check=False, cwd=project, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )


def ricenet(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ricenet` there, as a user does."""
    return run(project, "ricenet", *arguments)


def write_project(project: Path, names: list[str]) -> None:
    """A params.yaml that declares some of the paper's volumes and is otherwise that of the repository."""
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["volumes"] = [volume for volume in content["volumes"] if volume["name"] in names]
    content["modality_sets"] = ["+".join(volume["name"] for volume in content["volumes"])]
    content["explain"]["modality_sets"] = content["evidence"]["repeat_sets"] = []
    content["cohort"]["root"] = COHORT
    if "dose" not in names:
        content["variables"] = []
    project.mkdir(parents=True, exist_ok=True)
    with (project / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def write_subject(project: Path, dataset: RealDataset, content: Path) -> None:
    """A raw cohort of one subject from the data set's files, in the project's data/real."""
    assert dataset.expected is not None
    raw = RawSubject(project / COHORT, SUBJECT, read_params(project / "params.yaml").volumes)
    for name, file in dataset.expected.subject.items():
        save_nifti(read_volume(content / str(file)), raw.scan(name))
    if raw.volumes.dose is not None:
        sidecar = next(content.glob("*dose*.json"), None)
        assert sidecar is not None, f"{dataset.folder.name}: no JSON beside the dose"
        shutil.copyfile(sidecar, raw.dose_sidecar)
    table = f"participant_id\tlabel\tlabel_source\tsubset\n{SUBJECT}\tn/a\tn/a\tn/a\n"
    (project / COHORT / "participants.tsv").write_text(table)


def copy_first_subject(project: Path, cohort: Path) -> None:
    """The first subject of a raw cohort, with its row, into the project's."""
    header, *rows = (cohort / "participants.tsv").read_text(encoding="utf-8-sig").splitlines()
    row = min(row for row in rows if row.startswith("sub-"))
    subject = row.split("\t")[0]
    shutil.copytree(cohort / subject, project / COHORT / subject)
    (project / COHORT / "participants.tsv").write_text(f"{header}\n{row}\n", encoding="utf-8")


def map_rows(path: Path) -> list[dict[str, str]]:
    """Rows of an import's map."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def with_roles(path: Path, roles: dict[int, str]) -> None:
    """Write roles into a map, by the number of slices of their series."""
    rows = map_rows(path)
    for row in rows:
        row["role"] = roles.get(int(row["slices"]), "")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
