#!/bin/sh
# dcm2niix converts an RTDOSE with its planes SliceThickness apart instead of GridFrameOffsetVector, and its stored
# integers unscaled and as signed ones.
#
# Versions: dcm2niix 1.0.20260724 (PyPI); the file is written by pydicom 3.0.2, numpy 2.3.5.
# The standard (DICOM PS3.3 C.8.8.3.2 and .4): planes lie where GridFrameOffsetVector says; dose = stored value *
# DoseGridScaling. SliceThickness is the slab that a plane stands for, and need not be their distance.
# Seen: planes 2.5 mm apart, SliceThickness 1 mm: voxels of 1 mm, so that the last of 40 planes lies 58.5 mm from
# its place. 60 Gy, stored as 4000000000, comes out as -294967296. Exit status 0; no warning of either.
# Output seen:
#   int32, planes 1.0 mm apart (right: 2.5), 60 Gy is -294967296
# So: multiplying the NIfTI by DoseGridScaling afterwards repairs neither.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dcm2niix==1.0.20260724 pydicom==3.0.2 numpy==2.3.5 \
  nibabel==5.4.2
cat > write.py <<'PYTHON'
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage, RTPlanStorage, generate_uid

stored = np.zeros((40, 6, 8), "<u4")
stored[10:30] = 4_000_000_000
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
dose.PixelSpacing, dose.SliceThickness = [2.5, 2.5], 1
dose.GridFrameOffsetVector = [2.5 * plane for plane in range(40)]
dose.FrameIncrementPointer = 0x3004000C
dose.DoseGridScaling = "1.5e-8"
dose.PixelData = stored.tobytes()
dose.save_as("dicom/dose.dcm", enforce_file_format=True)
PYTHON
mkdir dicom nifti
venv/bin/python -I write.py
venv/bin/dcm2niix -f dose -z n -o nifti dicom
venv/bin/python -I - <<'PYTHON'
import nibabel
import numpy as np

image = nibabel.load("nifti/dose.nii")
values = np.asarray(image.dataobj)
apart = float(image.header.get_zooms()[2])
print(f"{image.get_data_dtype()}, planes {apart} mm apart (right: 2.5), 60 Gy is {int(values.min())}")
assert apart == 1.0
assert (int(values.min()), int(values.max())) == (4_000_000_000 - 2**32, 0)
PYTHON
