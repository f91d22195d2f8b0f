"""Spoiled DICOM exports: a clear reason for the spoiled patient, the other imported, nothing half-written.

Every export holds two patients. ANON-17 is spoiled in one way; ANON-18 is sound and has to arrive.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dicom_trees import TinyExport, edit, recompress, write_tiny_export
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.phantom.dicom.image_writers import (
    write_enhanced_mr,
    write_image_series,
    write_secondary_capture,
)
from ricenet.phantom.dicom.objects import Header, uid
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose, write_rtplan
from ricenet.volume import Grid, Volume

PROJECT = Path(__file__).parents[1]
PLAN_DATE = date(2020, 3, 10)

Spoil = Callable[[TinyExport], object]
Row = dict[str, str]
EditMap = Callable[[list[Row], TinyExport], None]


@dataclass(frozen=True)
class Result:
    """What the second call said, and what it left."""

    exit_code: int
    output: str
    cohort: Path
    map_file: Path

    @property
    def subjects(self) -> list[str]:
        return sorted(path.name for path in self.cohort.glob("sub-*"))


class Bench:
    """A folder in which exports are written, mapped and imported as a user does it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.export_folder = folder, folder / "export"
        self.map_file, self.cohort = folder / "map.csv", folder / "mine"
        self.params = folder / "params.yaml"
        text = (PROJECT / "params.yaml").read_text().replace("backend: processes", "backend: serial")
        self.params.write_text(text)
        self.sound = write_tiny_export(self.export_folder, "ANON-18")

    def call(self) -> tuple[int, str]:
        arguments = ["import", "dicom", str(self.export_folder), str(self.cohort)]
        done = CliRunner().invoke(
            app, [*arguments, "--map", str(self.map_file), "--params", str(self.params)]
        )
        assert not isinstance(done.exception, Exception), done.exception
        return done.exit_code, done.output

    def rows(self) -> list[Row]:
        with self.map_file.open(encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream))

    def rewrite(self, rows: list[Row]) -> None:
        with self.map_file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def imported(self, spoiled: TinyExport, edit_map: EditMap | None = None) -> Result:
        code, output = self.call()
        assert code == 0, output
        if edit_map is not None:
            rows = self.rows()
            edit_map(rows, spoiled)
            self.rewrite(rows)
        return self.second_call()

    def second_call(self) -> Result:
        """Import by the map as it is now."""
        code, output = self.call()
        return Result(code, " ".join(output.split()), self.cohort, self.map_file)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def written(bench: Bench, **options: object) -> TinyExport:
    return write_tiny_export(bench.export_folder, "ANON-17", **options)  # type: ignore[arg-type]


def assert_refused(result: Result, reason: str, exit_code: int = 1) -> None:
    """sub-001 (ANON-17) is refused for the reason; sub-002 (ANON-18) is complete; nothing is left over."""
    assert result.exit_code == exit_code, result.output
    assert re.search(reason, result.output), result.output
    assert "sub-001" in result.output and "Traceback" not in result.output
    assert not re.search("ANON|Sibylle|1957|2020|2\\.25\\.", result.output), result.output
    assert result.subjects == ["sub-002"]
    assert len(list((result.cohort / "sub-002").rglob("*.nii.gz"))) == 3
    assert not list(result.cohort.rglob(".partial*")) and not list(result.cohort.parent.glob(".partial*"))
    table = (result.cohort / "participants.tsv").read_text()
    assert "sub-002" in table and "sub-001" not in table
    outcomes = (result.cohort / "import.tsv").read_text()
    assert re.search("sub-001\t(failed|excluded)\t", outcomes)


def set_roles(**roles: str) -> EditMap:
    """Give the spoiled patient's series a role each: by `post_op`, `event`, `dose` or another known UID."""

    def change(rows: list[Row], export: TinyExport) -> None:
        uids = {export.patient.uid(name): role for name, role in roles.items()}
        for row in rows:
            row["role"] = uids.get(row["uid"], row["role"])

    return change


USUAL = set_roles(post_op="post_op", event="event", dose="dose")


def cut_off(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def moved(path: Path, along_mm: float) -> None:
    """Displace one slice along the patient's axis."""
    import pydicom

    position = pydicom.dcmread(path).ImagePositionPatient
    edit(path, ImagePositionPatient=[position[0], position[1], float(position[2]) + along_mm])


def doubled(export: TinyExport) -> None:
    """A second image at the place of slice 4, another instance with other pixels."""
    import pydicom

    copy = export.post_op_files[4].with_name("again.dcm")
    shutil.copy(export.post_op_files[4], copy)
    edit(copy, SOPInstanceUID=uid("again"), PixelData=bytes(len(pydicom.dcmread(copy).PixelData)))


def two_contents(export: TinyExport) -> None:
    """Slice 4 again under the same SOP instance UID, with other pixels."""
    import pydicom

    copy = export.post_op_files[4].with_name("again.dcm")
    dataset = pydicom.dcmread(export.post_op_files[4])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(copy)


def second_echo(export: TinyExport) -> None:
    """Phase images of a second echo in the same series, half a slice away."""
    import pydicom

    for number, path in enumerate(export.post_op_files):
        copy = path.with_name(f"echo2_{number}.dcm")
        shutil.copy(path, copy)
        edit(copy, SOPInstanceUID=uid("echo 2", number), EchoTime=90, ImageType=["ORIGINAL", "PRIMARY", "P"])
        z = [float(pydicom.dcmread(one).ImagePositionPatient[2]) for one in export.post_op_files[:2]]
        moved(copy, (z[1] - z[0]) / 2)


def colour(export: TinyExport) -> None:
    """One slice of the T1ce is a colour image."""
    import pydicom

    dataset = pydicom.dcmread(export.post_op_files[3])
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(3 * dataset.Rows * dataset.Columns)
    dataset.save_as(export.post_op_files[3])


def unknown_compression(export: TinyExport) -> None:
    """Slices in High-Throughput JPEG 2000, which no installed decoder reads."""
    import pydicom
    from pydicom.encaps import encapsulate

    for path in export.post_op_files:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
        dataset.PixelData = encapsulate([b"\xff\x4f" + bytes(400) + b"\xff\xd9"])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)


def second_patient_in_series(export: TinyExport) -> None:
    edit(export.post_op_files[2], PatientID="ANON-99")


def localiser(export: TinyExport) -> None:
    edit(export.post_op_files[5], ImageOrientationPatient=[0, 1, 0, 0, 0, -1])


def second_plan(export: TinyExport) -> None:
    study = export.patient.study("rt", PLAN_DATE)
    folder, frame = export.dose_file.parent, export.rt_frame_uid
    write_rtplan(
        folder / "p2.bin", Header(study, uid("boost plan"), frame), fractions=5, prescription_gy=10.0,
    )  # fmt: skip
    boost = Volume((export.dose.data / 6).astype(np.float32), export.dose.grid)
    write_rtdose(
        boost, folder / "d2.bin", Header(study, uid("boost dose"), frame), plan_uids=[uid("boost plan")],
    )  # fmt: skip


def far_away(export: TinyExport) -> None:
    import pydicom

    dose = pydicom.dcmread(export.dose_file)
    x, y, z = dose.ImagePositionPatient
    edit(export.dose_file, ImagePositionPatient=[float(x) + 900.0, y, z])


def second_post_op(export: TinyExport) -> None:
    study = export.patient.study("post_op", date(2020, 3, 1))
    write_image_series(
        export.post_op, export.folder / "again",
        Header(study, uid("second post-op"), export.patient.uid("post_op-frame"), description="T1 SE post"),
        contrast_agent="Gadovist",
    )  # fmt: skip


def second_event(export: TinyExport) -> None:
    study = export.patient.study("event", date(2020, 12, 1))
    write_image_series(
        export.event, export.folder / "later",
        Header(study, uid("second event"), uid("later frame"), description="T1 MPRAGE"),
        contrast_agent="Gadovist",
    )  # fmt: skip


def second_ct(export: TinyExport) -> None:
    assert export.ct is not None
    write_image_series(
        export.ct, export.folder / "ct again",
        Header(export.patient.study("rt", PLAN_DATE), uid("second ct"), export.rt_frame_uid), modality="CT",
    )  # fmt: skip


SPOILED_FILES: dict[str, tuple[Spoil, str]] = {
    "a truncated slice": (
        lambda e: cut_off(e.post_op_files[5]),
        "post_op: 1 of 12 files of the series cannot be used",
    ),
    "truncated slices at the end": (
        lambda e: [cut_off(path) for path in e.post_op_files[-3:]],
        "post_op: 3 of 12 files of the series cannot be used",
    ),
    "slices at the end that are empty": (
        lambda e: [path.write_bytes(b"") for path in e.post_op_files[-3:]],
        "post_op: 3 of 12 files of the series cannot be used: an empty file",
    ),
    "a slice that is missing": (lambda e: e.post_op_files[6].unlink(), "post_op: .*missing"),
    "a slice that is there twice": (doubled, "post_op: .*13 slices lie at 12 positions"),
    "one instance with two contents": (
        two_contents,
        "post_op: 1 of 12 files of the series cannot be used: one SOP instance UID for 2 files",
    ),
    "a second echo's phase between the slices": (
        second_echo,
        "post_op: 24 slices of 2 echo times and 2 image",
    ),
    "unequal spacing": (lambda e: moved(e.post_op_files[6], 3.0), "post_op: .*spac.*mm"),
    "a localiser's slice": (localiser, "post_op: .*orient"),
    "slices of two sizes": (
        lambda e: edit(e.post_op_files[2], PixelSpacing=[3.0, 3.0]),
        "post_op: .*spacing",
    ),
    "no pixel spacing": (lambda e: edit(e.post_op_files[2], PixelSpacing=None), "post_op: .*PixelSpacing"),
    "no position": (
        lambda e: edit(e.event_files[1], ImagePositionPatient=None),
        "event: .*ImagePositionPatient",
    ),
    "colour pixels": (colour, "post_op: .*(RGB|colour|SamplesPerPixel)"),
    "pixels that no decoder reads": (
        unknown_compression,
        "post_op: .*(High-Throughput|HTJ2K).*Install pylibjpeg",
    ),
    "dose far from the head": (far_away, "mm away"),
}


@pytest.mark.parametrize("name", SPOILED_FILES)
def test_spoiled_files_keep_their_patient_out(bench: Bench, name: str) -> None:
    spoil, reason = SPOILED_FILES[name]
    export = written(bench)
    spoil(export)
    assert_refused(bench.imported(export, USUAL), reason)


UNUSABLE: dict[str, tuple[Spoil, str, int | None]] = {
    "two patients in one series": (second_patient_in_series, "post_op", 11),
    "no patient identifier": (lambda e: [edit(f, PatientID="") for f in e.event_files], "event", None),
    "dose cut off": (lambda e: cut_off(e.dose_file, 0.7), "dose", 1),
    "all slices cut off": (lambda e: [cut_off(f, 0.8) for f in e.event_files], "event", 15),
}
"""What to spoil, the role that nothing is left for, and how many unusable files still say that they are of
the patient: none, and the patient lacks a scan; some, and it has failed."""


@pytest.mark.parametrize("name", UNUSABLE)
def test_files_that_cannot_be_used_are_counted_and_listed_beside_the_map(bench: Bench, name: str) -> None:
    spoil, role, known_files = UNUSABLE[name]
    export = written(bench)
    spoil(export)
    result = bench.imported(export)
    reason = f"no row of the map has the role {role}"
    if known_files is None:
        assert_refused(result, reason, exit_code=0)
    else:
        assert_refused(result, rf"{reason}, and {known_files} file\(s\) of this patient cannot be used")
    assert re.search(
        r"[0-9]+ file\(s\) of the export cannot be used; map.files.csv lists them", result.output
    )
    listed = (bench.folder / "map.files.csv").read_text(encoding="utf-8-sig")
    assert "ANON-17/" in listed


UNDECIDED: dict[str, tuple[Spoil, dict[str, object]]] = {
    "two scans before radiotherapy": (second_post_op, {}),
    "two visits after radiotherapy": (second_event, {}),
    "doses of two plans": (second_plan, {}),
    "two planning CTs": (second_ct, {"shared_frame": False, "with_ct": True, "with_struct": False}),
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_two_candidates_are_never_chosen_between(bench: Bench, name: str) -> None:
    spoil, options = UNDECIDED[name]
    export = written(bench, **options)
    spoil(export)
    code, output = bench.call()
    assert code == 0 and "1 undecided" in output
    marked = [row for row in bench.rows() if row["patient_id"] == "ANON-17" and row["role"] == "?"]
    assert len(marked) == 2 and all(row["note"] for row in marked)
    assert_refused(bench.second_call(), "undecided")


def test_doses_of_two_plans_are_summed_where_the_map_says_that_they_are_one_course(bench: Bench) -> None:
    from ricenet.volume import load_nifti

    export = written(bench)
    second_plan(export)

    def one_course(rows: list[Row], _: TinyExport) -> None:
        for row in rows:
            if row["patient_id"] == "ANON-17" and row["modality"] == "RTDOSE":
                row["role"], row["course"] = "dose", "1"

    result = bench.imported(export, one_course)
    assert result.exit_code == 0, result.output
    dose = load_nifti(next((bench.cohort / "sub-001").rglob("*_dose.nii.gz")))
    assert float(dose.data.max()) == pytest.approx(62.0 * 7 / 6, rel=1e-3)


def test_the_dose_of_another_patient_is_refused(bench: Bench) -> None:
    export = written(bench)

    def swap(rows: list[Row], _: TinyExport) -> None:
        for row in rows:
            if row["patient_id"] == "ANON-17" and row["modality"] == "RTDOSE":
                row["uid"] = bench.sound.patient.uid("dose")

    result = bench.imported(export, swap)
    assert result.exit_code == 1 and re.search("line [0-9]+.*another patient", result.output)
    assert not bench.cohort.exists()


def harmless_files(export: TinyExport) -> None:
    """What lies about in exports: notes, an index, a colour capture, an exact copy."""
    (export.folder / "ANON-17" / "README.txt").write_text("Sibylle's scans")
    (export.folder / "ANON-17" / ".DS_Store").write_bytes(b"\0" * 64)
    (export.folder / "empty").touch()
    shutil.copy(export.post_op_files[0], export.folder / "copy of a slice")
    study = export.patient.study("post_op", date(2020, 3, 1))
    capture = np.full((8, 9, 3), 200, np.uint8)
    write_secondary_capture(
        capture, export.post_op_files[0].with_name("capture"), Header(study, uid("sc"), number=99)
    )


def mixed_folder(export: TinyExport) -> None:
    """Both patients' files in one folder, with meaningless names."""
    target = export.folder / "all"
    target.mkdir()
    files = sorted(path for path in export.folder.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        path.rename(target / f"{number:04d}")


def enhanced(export: TinyExport) -> None:
    """The event as one multi-frame file."""
    for path in export.event_files:
        path.unlink()
    study = export.patient.study("event", date(2020, 9, 1))
    write_enhanced_mr(
        export.event, export.folder / "mf.dcm",
        Header(
            study, export.patient.uid("event"), export.patient.uid("event-frame"), description="T1 MPRAGE"
        ),
        contrast_agent="Gadovist",
    )  # fmt: skip


def compressed(transfer_syntax: str) -> Spoil:
    def compress(export: TinyExport) -> None:
        for path in export.post_op_files:
            recompress(path, transfer_syntax)

    return compress


HARMLESS: dict[str, Spoil] = {
    "other files": harmless_files,
    "patients mixed in one folder": mixed_folder,
    "a multi-frame MRI": enhanced,
    "JPEG Lossless": compressed("JPEGLosslessProcess14_1"),
    "JPEG-LS": compressed("JPEGLSLossless"),
    "JPEG 2000": compressed("JPEG2000Lossless"),
    "RLE": compressed("RLELossless"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_unusual_but_sound_is_imported(bench: Bench, name: str) -> None:
    from ricenet.volume import load_nifti

    export = written(bench)
    HARMLESS[name](export)
    result = bench.imported(export)
    assert result.exit_code == 0, result.output
    assert result.subjects == ["sub-001", "sub-002"]
    for visit, volume in (("postop", export.post_op), ("event", export.event)):
        path = bench.cohort / f"sub-001/ses-{visit}/anat/sub-001_ses-{visit}_ce-gadolinium_T1w.nii.gz"
        read = load_nifti(path)
        np.testing.assert_allclose(corners_mm(read.grid), corners_mm(volume.grid), atol=0.01)
        assert sorted(read.data.ravel()) == sorted(volume.data.ravel())


def corners_mm(grid: Grid) -> np.ndarray:
    """The grid's corners in a fixed order, whichever way its axes run."""
    ends = np.array(np.meshgrid(*[(0.0, n - 1.0) for n in grid.shape])).reshape(3, 8).T
    world = np.round(grid.world_mm(ends), 3)
    return world[np.lexsort(world.T)]
