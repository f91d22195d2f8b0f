"""Structure sets lead to the images they were drawn on."""

from __future__ import annotations

from pathlib import Path

import pytest
from dicom_edits import FRAME, STUDY, change, only_instance, sample, setting
from pydicom import Dataset
from pydicom.data import get_testdata_file

from ricenet.importing.dicom.headers import read_header
from ricenet.importing.dicom.plan import read_structures
from ricenet.phantom.dicom.objects import sequence_item, uid
from ricenet.phantom.dicom.radiotherapy import write_rtstruct
from ricenet.runtime.errors import SourceError


def write_structures(folder: Path) -> Path:
    return write_rtstruct(
        folder / "struct", STUDY, sop_instance_uid=uid("struct"), frame_of_reference_uid=FRAME,
        image_series_uid="1.2.7", image_study_uid="1.2.6", image_sop_instance_uids=["1.2.7.1", "1.2.7.2"],
    )  # fmt: skip


def test_references_to_images_and_frames_are_read(tmp_path: Path) -> None:
    write_structures(tmp_path)
    structures = read_structures(only_instance(tmp_path))
    assert structures.sop_instance_uid == uid("struct")
    assert structures.frame_of_reference_uids == (FRAME,)
    assert structures.image_series_uids == ("1.2.7",)


def test_several_frames_of_reference_are_listed_once_each(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        series = sequence_item(SeriesInstanceUID="1.2.8")
        study = sequence_item(RTReferencedSeriesSequence=[series])
        second = sequence_item(FrameOfReferenceUID="1.2.10", RTReferencedStudySequence=[study, study])
        dataset.ReferencedFrameOfReferenceSequence.append(second)

    change(write_structures(tmp_path), edit)
    structures = read_structures(only_instance(tmp_path))
    assert structures.frame_of_reference_uids == (FRAME, "1.2.10")
    assert structures.image_series_uids == ("1.2.7", "1.2.8")


def test_regions_say_their_frame_where_no_images_are_referenced(tmp_path: Path) -> None:
    change(write_structures(tmp_path), setting(ReferencedFrameOfReferenceSequence=None))
    structures = read_structures(only_instance(tmp_path))
    assert (structures.frame_of_reference_uids, structures.image_series_uids) == ((FRAME,), ())


def test_a_structure_set_that_refers_to_nothing_is_refused(tmp_path: Path) -> None:
    change(
        write_structures(tmp_path),
        setting(ReferencedFrameOfReferenceSequence=None, StructureSetROISequence=None),
    )
    with pytest.raises(SourceError, match="refers to no images and no frame of reference"):
        read_structures(only_instance(tmp_path))


def test_the_real_structure_set_leads_to_the_ct_beside_it() -> None:
    struct, ct = (read_header(sample("rt_dicom", name)) for name in ("rtss.dcm", "ct.0.dcm"))
    assert struct is not None and ct is not None
    structures = read_structures(struct)
    assert structures.image_series_uids == (ct.series_uid,)
    assert structures.frame_of_reference_uids == (ct.frame_of_reference_uid,)


def test_pydicoms_own_structure_set_is_read() -> None:
    instance = read_header(Path(str(get_testdata_file("rtstruct.dcm", download=False))))
    assert instance is not None and instance.kind == "RTSTRUCT"
    assert read_structures(instance).frame_of_reference_uids
