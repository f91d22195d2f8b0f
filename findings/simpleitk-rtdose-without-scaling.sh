#!/bin/sh
# SimpleITK reads an RTDOSE as its stored integers: DoseGridScaling is not applied.
#
# Versions: SimpleITK 2.5.7; the file is written by pydicom 3.0.2, numpy 2.3.5.
# The standard (DICOM PS3.3 C.8.8.3.4): dose = stored value * DoseGridScaling, in DoseUnits.
# Seen: 60 Gy at a scaling of 1.5e-8 is read as 4000000000, of type "32-bit unsigned integer"; the geometry is
# right, there is no warning, and RescaleSlope, by which SimpleITK scales other modalities, does not exist here.
# Output seen:
#   SimpleITK: 0.0 to 4000000000.0, spacing (2.5, 2.5, 2.5); right: 0 to 60 Gy
# So: a dose that came through SimpleITK has to be multiplied by (3004,000E) by whoever wrote it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage, RTPlanStorage, generate_uid

stored = np.array([0, 4_000_000_000], "<u4").repeat(12).reshape(2, 3, 4)
dose = Dataset()
dose.file_meta = FileMetaDataset()
dose.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
dose.file_meta.MediaStorageSOPClassUID = dose.SOPClassUID = RTDoseStorage
dose.file_meta.MediaStorageSOPInstanceUID = dose.SOPInstanceUID = generate_uid()
dose.StudyInstanceUID, dose.SeriesInstanceUID, dose.FrameOfReferenceUID = (generate_uid() for _ in range(3))
for keyword in (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "OperatorsName", "Manufacturer", "PositionReferenceIndicator"),
):
    setattr(dose, keyword, "")
dose.StudyDate, dose.StudyTime, dose.SeriesNumber, dose.InstanceNumber = "20200101", "120000", 1, 1
plan = Dataset()
plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = RTPlanStorage, generate_uid()
dose.ReferencedRTPlanSequence = [plan]
dose.Modality, dose.DoseUnits, dose.DoseType, dose.DoseSummationType = "RTDOSE", "GY", "PHYSICAL", "PLAN"
dose.NumberOfFrames, dose.Rows, dose.Columns = stored.shape
dose.SamplesPerPixel, dose.PhotometricInterpretation, dose.PixelRepresentation = 1, "MONOCHROME2", 0
dose.BitsAllocated, dose.BitsStored, dose.HighBit = 32, 32, 31
dose.ImagePositionPatient, dose.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
dose.PixelSpacing, dose.SliceThickness, dose.GridFrameOffsetVector = [2.5, 2.5], 2.5, [0, 2.5]
dose.FrameIncrementPointer = 0x3004000C
dose.DoseGridScaling = "1.5e-8"
dose.PixelData = stored.tobytes()
dose.save_as("dose.dcm", enforce_file_format=True)

image = sitk.ReadImage("dose.dcm")
read = sitk.GetArrayFromImage(image)
print(f"SimpleITK: {float(read.min())} to {float(read.max())}, spacing {image.GetSpacing()}; right: 0 to 60 Gy")
assert image.GetPixelIDTypeAsString() == "32-bit unsigned integer"
assert (read.min(), read.max()) == (0, 4_000_000_000)
assert image.GetSpacing() == (2.5, 2.5, 2.5)
PYTHON
