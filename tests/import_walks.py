"""Walks from a spoiled export through the import's refusal, by its own remedy, to a cohort."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from dicom_trees import TinyExport, edit
from pydicom import Dataset, dcmread

from ricenet.config.params import ExecutionParams
from ricenet.importing.dicom_export import ImportPaths, import_export, propose
from ricenet.importing.import_cohort import reasons
from ricenet.phantom.dicom.objects import Header, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import Volume

SERIAL = ExecutionParams(backend="serial", workers=1, threads_per_worker=1)
PLANNED = date(2020, 3, 10)

EXPORT_AGAIN = "export again"
"""The outcome of a refusal that no statement mends, since the files lack what is needed."""


def relocated(export: TinyExport, folder: Path) -> TinyExport:
    """A copy of an export in another folder."""
    shutil.copytree(export.folder, folder, dirs_exist_ok=True)

    def moved(value: object) -> object:
        if isinstance(value, list):
            return [moved(one) for one in value]
        return folder / value.relative_to(export.folder) if isinstance(value, Path) else value

    return replace(export, **{one.name: moved(getattr(export, one.name)) for one in fields(export)})


@dataclass
class Walk:
    """One patient's export, the map and the clinical table as a user edits them, and the import."""

    base: TinyExport
    folder: Path
    export: TinyExport = field(init=False)
    clinical: Path | None = None

    def __post_init__(self) -> None:
        self.export = relocated(self.base, self.folder / "export")
        self.paths = ImportPaths(
            self.folder / "export", self.folder / "map.csv", self.folder / "key.csv", self.folder / "mine"
        )

    def propose(self) -> None:
        propose(self.paths, PAPER_VOLUMES)

    def imported(self) -> str:
        """Import by the map: why the patient was not, or nothing."""
        try:
            return reasons(import_export(self.paths, self.clinical, PAPER_VOLUMES, 7, SERIAL))
        except CohortError as error:
            return str(error)

    def export_again(self, sound: TinyExport) -> None:
        """What the system should have exported in the first place, and a map that is proposed anew."""
        shutil.rmtree(self.export.folder)
        relocated(sound, self.export.folder)
        self.paths.map.unlink()
        self.propose()

    # the map

    def rows(self) -> list[dict[str, str]]:
        with self.paths.map.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))

    def set_rows(self, rows: list[dict[str, str]]) -> None:
        with self.paths.map.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def set(self, name: str, **cells: str) -> None:
        """Fill in cells of the row of a series or dose, by its name in the export."""
        rows = self.rows()
        (row,) = [row for row in rows if row["uid"] == self.uid(name)]
        row.update(cells)
        self.set_rows(rows)

    def uid(self, name: str) -> str:
        return self.export.patient.uid(name)

    def table(self, **cells: str) -> None:
        """The clinical table."""
        self.clinical = self.folder / "clinical.csv"
        patient = {"patient_id": self.export.patient.patient_id, **cells}
        self.clinical.write_text(",".join(patient) + "\n" + ",".join(patient.values()) + "\n")

    # the export

    def files(self, name: str) -> list[Path]:
        """Of a volume or of the plan, by its name."""
        found = getattr(self.export, f"{name}_files", None) or getattr(self.export, f"{name}_file")
        return found if isinstance(found, list) else [found]

    def edit(self, name: str, index: slice = slice(None), **elements: object) -> None:
        for path in self.files(name)[index]:
            edit(path, **elements)

    def change(self, name: str, change: Callable[[Dataset], object], index: slice = slice(None)) -> None:
        for path in self.files(name)[index]:
            dataset = dcmread(path)
            change(dataset)
            dataset.save_as(path)

    def add_series(self, of: str, name: str, **elements: object) -> None:
        """The files of an MRI again as another series, of another study unless `elements` say so."""
        new = {"SeriesInstanceUID": self.uid(name), "StudyInstanceUID": self.uid(f"{name}-study")}
        for k, path in enumerate(self.files(of)):
            copy = path.with_name(f"{name}{k}.bin")
            shutil.copy(path, copy)
            edit(copy, **{**new, "SOPInstanceUID": uid(name, k), **elements})

    def add_plan(self, name: str, **options: Any) -> None:
        """One more RTPLAN, `name`, of 5 fractions of 2 Gy."""
        header = Header(self.export.patient.study("rt", PLANNED), self.uid(name), self.export.rt_frame_uid)
        given = {"fractions": 5, "prescription_gy": 10.0, **options}
        write_rtplan(self.export.folder / f"{name}.bin", header, **given)

    def add_dose(self, name: str, maximum_gy: float = 10.5, frame: str = "", **options: Any) -> None:
        """One more RTDOSE of the shape of the first."""
        frame = frame or self.export.rt_frame_uid
        header = Header(self.export.patient.study("rt", PLANNED), self.uid(name), frame)
        dose = self.export.dose
        scaled = Volume(dose.data * (maximum_gy / dose.data.max()), dose.grid)
        write_rtdose(scaled, self.export.folder / f"{name}.bin", header, **options)


Step = Callable[[Walk], object]


@dataclass(frozen=True)
class Case:
    """A refusal and its way out.

    site: module and function that refuse. said: words of the message. spoil: the export before the map is
    proposed. first: what a user writes into the map to meet the refusal. remedy: what the message says, or
    EXPORT_AGAIN. options: of the export, by `write_tiny_export`.
    """

    site: str
    said: str
    spoil: Step
    remedy: Step | str
    first: Step = lambda walk: None
    options: Mapping[str, Any] = field(default_factory=dict)


def case(
    site: str, said: str, spoil: Step, remedy: Step | str, first: Step = lambda walk: None, **options: Any
) -> Case:
    return Case(site, said, spoil, remedy, first, options)


def steps(*steps: Step) -> Step:
    def walk_through(walk: Walk) -> None:
        for step in steps:
            step(walk)

    return walk_through


def states(name: str, **cells: str) -> Step:
    """Cells of the map."""
    return lambda walk: walk.set(name, **cells)


def edits(name: str, index: slice = slice(None), **elements: object) -> Step:
    return lambda walk: walk.edit(name, index, **elements)


def changes(name: str, change: Callable[[Dataset], object], index: slice = slice(None)) -> Step:
    return lambda walk: walk.change(name, change, index)
