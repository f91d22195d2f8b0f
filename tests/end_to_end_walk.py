"""One walk from an archive's export to a trained project, with what each command said."""

from __future__ import annotations

import csv
import gzip
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
from cloned_project import Clone
from heads import DOSE_HEIGHT

from ricenet.importing.dicom.instances import DicomTree
from ricenet.importing.dicom.tree import read_tree
from ricenet.phantom.dicom.export import write_dicom_phantom
from ricenet.runtime.files import read_json

# four for training and two for the test, half of each label; the seventh stays in the archive
PATIENTS, SEED, LEFT_OUT = 7, 7, "PHANTOM-0007"
SUBJECTS, FOLDS, EPOCHS, CUBE_VOXELS = PATIENTS - 1, 2, 2, 24
PROMOTED, ALL_THREE = ("dose", "event+dose"), "post_op+event+dose"
SMALL_COHORT = f"{ALL_THREE}@small_cohort"
SETS = [*PROMOTED, ALL_THREE, SMALL_COHORT]
TINY = {
    "cohort": {"root": "data/mine"},
    "modality_sets": SETS,
    "recipes": {"small_cohort": {"training": {"steps": 4}}},
    "phantom": {"subjects": 6, "rice_share": 0.5, "seed": 2, "test_fraction": 0.25, "spacing_mm": 4.0},
    "preprocessing": {
        "cube_voxels": CUBE_VOXELS,
        "spacing_mm": 8.0,
        "registration": {"spacing_mm": 6.0},
        "brain": {"spacing_mm": 3.0},
    },
    "split": {"folds": FOLDS},
    "network": {"widen_factor": 0.0625},
    "training": {"epochs": EPOCHS, "batch_size": 2, "checkpoint_every_epochs": 1},
    "explain": {"subjects_per_label": 1, "cube_voxels": 8, "stride_voxels": 8},
    "evidence": {"resamples": 200},
    "robustness": {
        "dose_shift_mm": [3],
        "dose_rotation_degrees": [5],
        "noise_sd": [0.3],
        "bias_field": [0.3],
    },
    # how work is spread over processes is told elsewhere
    "execution": {"backend": "serial", "workers": 1},
}
IDENTIFYING = (
    *("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID", "FrameOfReferenceUID", "AccessionNumber", "InstitutionName", "StudyDate"),
    *("ReferringPhysicianName", "DeviceSerialNumber", "StationName"),
)


class Walk:
    """The folders of the walk, as they are after the first `dvc repro`."""

    def __init__(self, folder: Path) -> None:
        self.export = folder / "export"
        write_dicom_phantom(
            self.export,
            PATIENTS,
            SEED,
            DOSE_HEIGHT,
            test_fraction=0.3,
            spacing_mm=3.0,
            backend="serial",
        )
        self.images, self.private = self.export / "images", folder / "private"
        self.private.mkdir()
        self.map_file = self.private / "map.csv"
        self.clone = Clone(folder / "clone", TINY)
        self.said: list[str] = []
        self.proposal = self.run("ricenet", "import", "dicom", *self.import_arguments)
        self.leave_one_out()
        self.imported = self.run("ricenet", "import", "dicom", *self.import_arguments)
        self.run("ricenet", "check", "../mine")
        self.run("ricenet", "cohort", "add", "../mine")
        self.first_output = self.run("dvc", "repro")
        self.tree = read_tree(self.images)

    @property
    def import_arguments(self) -> list[str]:
        clinical = str(self.export / "clinical.csv")
        return [str(self.images), "../mine", "--map", str(self.map_file), "--clinical", clinical]

    @property
    def project(self) -> Path:
        return self.clone.folder

    @property
    def truth(self) -> dict[str, Any]:
        """What the phantom's maker knows, by patient."""
        content: dict[str, Any] = read_json(self.export / "ground_truth" / "truth.json")
        return content

    def run(self, *command: str) -> str:
        """What a command says; kept, to be searched for what identifies a patient."""
        done = self.clone.run(*command)
        self.said.append(done.stdout + done.stderr)
        return self.said[-1]

    def leave_one_out(self) -> None:
        with self.map_file.open(encoding="utf-8-sig", newline="") as stream:
            kept = [row for row in csv.DictReader(stream) if row["patient_id"] != LEFT_OUT]
        with self.map_file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)

    def predict(self, files: dict[str, str], model: str) -> str:
        """The answer to a case, in JSON; files: a file or a folder by volume."""
        options = [part for name, path in files.items() for part in (f"--{name.replace('_', '-')}", path)]
        done = self.clone.run("ricenet", "predict", *options, "--model", model)
        self.said.append(done.stdout + done.stderr)
        return done.stdout


def folders_of(tree: DicomTree, patient_id: str, folder: Path) -> dict[str, str]:
    """Copies of a patient's T1ce series and radiotherapy objects, as a user sorts them out by a viewer."""
    series = [s for s in tree.of_patient(patient_id) if s.kind != "other"]
    planned = next(s for s in series if s.kind == "RTPLAN").first.date
    assert planned is not None
    for one in series:
        if one.kind == "MR":
            if not (one.first.contrast_agent and one.slices > 20 and one.first.date):
                continue
            name = "post_op" if one.first.date <= planned else "event"
        else:
            name = "dose"
        for number, instance in enumerate(one.instances):
            (folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(instance.path, folder / name / f"{one.kind}{number:04d}")
    return {name: str(folder / name) for name in ("post_op", "event", "dose")}


def identifiers(images: Path) -> set[bytes]:
    """Every name, number, date and UID that the export's headers give of its patients."""
    secrets: set[bytes] = set()
    for path in images.rglob("*"):
        if path.is_file():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            values = [str(header.get(keyword, "")) for keyword in IDENTIFYING]
            secrets |= {value.encode() for value in values if len(value) >= 6}
            secrets |= {part.encode() for part in values[0].split("^") if len(part) >= 5}
            secrets |= {iso(value).encode() for value in values if re.fullmatch(r"\d{8}", value)}
    return secrets


def pattern_of(secrets: set[bytes]) -> bytes:
    """A regular expression of all; a few digits count as a number of their own, not within a measurement."""
    numbers = {secret for secret in secrets if secret.isdigit() and len(secret) < 8}
    return any_of(secrets - numbers) + b"|(?<![0-9])" + any_of(numbers) + b"(?![0-9])"


def any_of(words: set[bytes]) -> bytes:
    """A regular expression of all words that shares their beginnings: many UIDs begin alike."""
    if b"" in words:
        return b""
    rests: dict[bytes, set[bytes]] = defaultdict(set)
    for word in words:
        rests[word[:1]].add(word[1:])
    branches = [re.escape(first) + any_of(rest) for first, rest in sorted(rests.items())]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def contents(walk: Walk) -> Iterator[tuple[str, bytes]]:
    """All that was written into the cohort and the project, decompressed, and all that was said.

    Of a file with several names, as the store's are laid out, the content comes once.
    """
    for number, said in enumerate(walk.said):
        yield f"output {number}", said.encode()
    project, seen = walk.project, set[tuple[int, int]]()
    for root in (project.parent / "mine", *(project / name for name in ("data", "work", "models", "mlflow"))):
        for path in root.rglob("*"):
            if path.is_file():
                file = (path.stat().st_dev, path.stat().st_ino)
                content = b"" if file in seen else path.read_bytes()
                seen.add(file)
                name = path.relative_to(project.parent).as_posix()
                yield name, gzip.decompress(content) if path.name.endswith(".gz") else content
