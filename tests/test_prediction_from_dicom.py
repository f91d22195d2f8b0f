"""A new case from three DICOM folders: the same volumes as from an import, and nothing guessed."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dicom_edits import assert_same_places
from dicom_trees import TinyExport, edit, write_tiny_export

from ricenet.cohort.dose_sidecar import parse_dose_sidecar, read_dose_sidecar
from ricenet.importing.dose.statement import DoseStatement
from ricenet.inference.case import CaseFiles, sidecar_of
from ricenet.inference.dicom_case import case_files
from ricenet.phantom.dicom.objects import Header
from ricenet.phantom.dicom.radiotherapy_writers import write_rtdose
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import PAPER_VOLUMES
from ricenet.volume import load_nifti


@pytest.fixture
def export(tmp_path: Path) -> TinyExport:
    return write_tiny_export(tmp_path / "export")


def case_of(post_op: Path, event: Path, dose: Path, **stated: Any) -> CaseFiles:
    volumes = {"post_op": post_op, "event": event, "dose": dose}
    return CaseFiles(volumes, stated=DoseStatement(**stated))


def folders(export: TinyExport, **stated: Any) -> CaseFiles:
    post_op, event = export.post_op_files[0].parent, export.event_files[0].parent
    return case_of(post_op, event, export.dose_file.parent, **stated)


def imported(given: CaseFiles) -> AbstractContextManager[CaseFiles]:
    return case_files(given, PAPER_VOLUMES, seed=7)


def refused(given: CaseFiles) -> str:
    with pytest.raises(CohortError) as error, imported(given):
        pass
    message = str(error.value)
    assert "ANON" not in message and "Sibylle" not in message
    return message


def test_folders_become_the_volumes_that_they_hold(export: TinyExport) -> None:
    with imported(folders(export)) as files:
        for path, written in (
            (files.volumes["post_op"], export.post_op),
            (files.volumes["event"], export.event),
        ):
            assert_same_places(load_nifti(path), written)
        dose = load_nifti(files.volumes["dose"])
        assert float(dose.data.max()) == pytest.approx(62.0, rel=1e-3)
        sidecar = read_dose_sidecar(sidecar_of(files.volumes["dose"]))
        assert (sidecar.fractions, sidecar.prescription_gy, sidecar.factor) == (30, 60.0, 1.0)
        kept = files.volumes["post_op"]
    assert not kept.exists()


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    given = case_of(*(tmp_path / f"{name}.nii.gz" for name in ("a", "b", "c")), fractions=5)
    with imported(given) as files:
        assert files is given


def test_the_dose_of_one_fraction_is_scaled_as_its_plan_says(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, summation_type="FRACTION", dose_max_gy=2.05)
    with imported(folders(export)) as files:
        sidecar = parse_dose_sidecar(sidecar_of(files.volumes["dose"]))
        assert getattr(sidecar, "factor", None) == 30.0


def test_a_number_of_fractions_does_not_make_a_plans_dose_one_fractions(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, prescription_gy=None)
    with imported(folders(export, fractions=30)) as files:
        sidecar = read_dose_sidecar(sidecar_of(files.volumes["dose"]))
        assert (sidecar.fractions, sidecar.factor) == (30, 1.0)


def test_what_the_dose_holds_is_stated_by_an_option(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, summation_type="FRACTION")
    message = refused(folders(export))
    assert "dose_of=course in the map (for predict: --dose-of, --fractions, --prescription)" in message
    with imported(folders(export, dose_of="course")) as files:
        assert read_dose_sidecar(sidecar_of(files.volumes["dose"])).factor == 1.0
    assert "Unscaled it would fit" in refused(folders(export, dose_of="fraction"))


def test_a_dose_without_its_plan_is_used_as_the_options_say(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, with_plan=False)
    assert "state prescription_gy and fractions" in refused(folders(export))
    with imported(folders(export, fractions=30, prescription_gy=60.0)) as files:
        sidecar = read_dose_sidecar(sidecar_of(files.volumes["dose"]))
        assert (sidecar.fractions, sidecar.prescription_gy, sidecar.factor) == (30, 60.0, 1.0)


def test_doses_of_several_plans_are_left_to_the_import(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path)
    write_rtdose(
        export.dose, export.dose_file.parent / "d2.bin",
        Header(export.patient.study("rt", date(2020, 3, 10)), "2.25.7", export.rt_frame_uid),
        plan_uids=["2.25.8"],
    )  # fmt: skip
    stated = folders(export, fractions=30, prescription_gy=60.0)
    assert "for predict: leave them out of the folder, or use ricenet import dicom" in refused(stated)


def test_two_people_under_one_patient_id_are_refused(export: TinyExport) -> None:
    for file in export.event_files:
        edit(file, PatientBirthDate="19300101", PatientSex="M")
    assert "2 different pairs of birth date and sex" in refused(folders(export))


def test_files_and_folders_are_not_mixed(export: TinyExport, tmp_path: Path) -> None:
    event, dose = tmp_path / "event.nii.gz", tmp_path / "dose.nii.gz"
    event.touch()
    dose.touch()
    given = case_of(export.post_op_files[0].parent, event, dose)
    assert "--post-op is a folder (DICOM), the others are files" in refused(given)


def test_a_folder_that_is_not_there_is_named_by_its_option(export: TinyExport, tmp_path: Path) -> None:
    given = case_of(tmp_path / "nope", export.event_files[0].parent, export.dose_file.parent)
    assert "--post-op: no such file or folder" in refused(given)


def test_two_series_in_a_folder_are_not_chosen_between(export: TinyExport) -> None:
    given = case_of(export.folder, export.event_files[0].parent, export.dose_file.parent)
    assert "2 MR series in the folder of --post-op (12 slices, 15 slices)" in refused(given)


def test_a_folder_without_an_mri_is_refused(export: TinyExport) -> None:
    given = case_of(export.dose_file.parent, export.event_files[0].parent, export.dose_file.parent)
    assert "no MR series in the folder of --post-op" in refused(given)


def test_a_folder_without_a_dose_is_refused(export: TinyExport) -> None:
    given = case_of(
        export.post_op_files[0].parent, export.event_files[0].parent, export.event_files[0].parent
    )
    assert "no RTDOSE in the folder of --dose" in refused(given)


def test_objects_of_two_patients_are_refused(export: TinyExport, tmp_path: Path) -> None:
    other = write_tiny_export(tmp_path / "other", "ANON-18")
    given = case_of(export.post_op_files[0].parent, other.event_files[0].parent, export.dose_file.parent)
    assert "objects of 2 PatientIDs" in refused(given)


def test_dates_out_of_order_are_refused(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, event_date=date(2020, 2, 1))
    assert "event" in refused(folders(export))


def test_what_is_no_dicom_is_left_out_and_counted(
    export: TinyExport, caplog: pytest.LogCaptureFixture
) -> None:
    (export.dose_file.parent / "Sibylle.txt").write_text("notes")
    with caplog.at_level(logging.WARNING), imported(folders(export)):
        pass
    assert "--dose: 1 file(s) excluded" in caplog.text and "Sibylle" not in caplog.text


def test_a_prescription_that_corrects_the_plan_is_said(
    export: TinyExport, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), imported(folders(export, prescription_gy=59.0)) as files:
        assert read_dose_sidecar(sidecar_of(files.volumes["dose"])).prescription_gy == 59.0
    assert "Prescription in Gy: 59, as stated by the user, which corrects the plan's 60." in caplog.text


def test_a_missing_slice_is_refused(export: TinyExport) -> None:
    export.event_files[6].unlink()
    assert "missing" in refused(folders(export))


def test_the_dose_of_another_space_without_a_ct_is_refused(tmp_path: Path) -> None:
    export = write_tiny_export(tmp_path, shared_frame=False)
    assert "frame of reference" in refused(folders(export))


def test_an_empty_folder_is_refused(export: TinyExport, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = case_of(tmp_path / "empty", export.event_files[0].parent, export.dose_file.parent)
    assert "--post-op: no usable DICOM file" in refused(given)
