#!/bin/sh
# SimpleITK reads no Parametric Map, of integers or of floating-point values; a Segmentation of the same frames it reads.
#
# Versions: SimpleITK 2.5.7; the files are written by highdicom 0.28.2, pydicom 3.0.2, numpy 2.3.5.
# Valid input: a Segmentation and two Parametric Maps (DICOM PS3.3 A.51, A.75) over three MR slices.
# Seen: both maps end in "Unable to determine ImageIO reader", as a file that is no DICOM at all does. The same
# frames of integers under the SOP class of an Enhanced MR are read. So it is the SOP class that is not known.
# Output seen:
#   segmentation: 3 frames
#   map of integers: not read
#   map of floating-point values: not read
#   the map of integers, called Enhanced MR: 3 frames
# So: read Parametric Maps with highdicom or pydicom, and do not expect a viewer that is built on ITK alone to.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
  SimpleITK==2.5.7 highdicom==0.28.2 pydicom==3.0.2 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
import numpy as np
import pydicom
import SimpleITK as sitk
from highdicom import AlgorithmIdentificationSequence, VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid

study, series, frame = (generate_uid() for _ in range(3))
slices = []
for number in range(3):
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
        *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
    ):
        setattr(one, keyword, "")
    one.Modality, one.Rows, one.Columns, one.InstanceNumber = "MR", 4, 4, number + 1
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = [1, 1], 3
    slices.append(one)


def shared(name):
    return {
        "series_instance_uid": generate_uid(), "series_number": 2, "sop_instance_uid": generate_uid(),
        "instance_number": 1, "manufacturer": "a maker", "manufacturer_model_name": name,
        "software_versions": "1", "device_serial_number": "1",
    }


def parametric_map(values, ends):
    return ParametricMap(
        slices, values, contains_recognizable_visual_features=False,
        real_world_value_mappings=[RealWorldValueMapping("a", "a map", codes.UCUM.NoUnits, ends, 1.0, 0.0)],
        voi_lut_transformations=[VOILUTTransformation([0.0], [100.0])], **shared("map"),
    )


def read(path):
    try:
        return f"{sitk.ReadImage(path).GetDepth()} frames"
    except RuntimeError as error:
        assert "Unable to determine ImageIO reader" in str(error)
        return "not read"


algorithm = AlgorithmIdentificationSequence("by hand", codes.DCM.ArtificialIntelligence, "1")
segment = SegmentDescription(1, "brain", codes.SCT.AnatomicalStructure, codes.SCT.Brain, "AUTOMATIC", algorithm)
mask = np.ones((3, 4, 4), np.uint8)
Segmentation(slices, mask, "BINARY", [segment], **shared("segmentation")).save_as("segmentation.dcm")
numbers = np.arange(48, dtype=np.uint16).reshape(3, 4, 4)
parametric_map(numbers, (0, 47)).save_as("integers.dcm")
parametric_map(numbers.astype(np.float32), (0.0, 47.0)).save_as("floats.dcm")
renamed = pydicom.dcmread("integers.dcm")
renamed.SOPClassUID = renamed.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
renamed.save_as("renamed.dcm")

found = {
    "segmentation": read("segmentation.dcm"),
    "map of integers": read("integers.dcm"),
    "map of floating-point values": read("floats.dcm"),
    "the map of integers, called Enhanced MR": read("renamed.dcm"),
}
for name, answer in found.items():
    print(f"{name}: {answer}")
assert list(found.values()) == ["3 frames", "not read", "not read", "3 frames"]
PYTHON
