#!/bin/sh
# SimpleITK's series reader gives every slice the pixel type of the first: later slopes are cut or wrap.
#
# Versions: SimpleITK 2.5.7; the files are written by pydicom 3.0.2, numpy 2.3.5.
# Valid input: PET, whose RescaleSlope each slice has for itself (DICOM PS3.3 C.8.9.4).
# Seen: four slices of one series. Each alone is read right; together, the first one's slope of 1 makes the volume
# 16-bit unsigned, in which 50.5 becomes 50 and 120000 becomes 54464. No warning.
# Output seen:
#   alone: [100.0, 50.5, 151.5, 120000.0]
#   as a series: [100.0, 50.0, 151.0, 54464.0], 16-bit unsigned integer
# So: read slices alone and stack them, or set the reader's output type to float.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check SimpleITK==2.5.7 pydicom==3.0.2 numpy==2.3.5
mkdir series
venv/bin/python -I - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

study, series, frame = (generate_uid() for _ in range(3))
for number, (stored, slope) in enumerate([(100, 1), (101, 0.5), (101, 1.5), (60000, 2)]):
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = PositronEmissionTomographyImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"),
        *("ReferringPhysicianName", "Manufacturer", "CollimatorType", "CorrectedImage", "PositionReferenceIndicator"),
    ):
        setattr(one, keyword, "")
    one.StudyDate = one.SeriesDate = one.AcquisitionDate = "20200101"
    one.StudyTime = one.SeriesTime = one.AcquisitionTime = "120000"
    one.Units, one.CountsSource, one.SeriesType, one.DecayCorrection = "BQML", "EMISSION", ["STATIC", "IMAGE"], "NONE"
    one.ImageType, one.NumberOfSlices, one.ImageIndex = ["ORIGINAL", "PRIMARY"], 4, number + 1
    one.FrameReferenceTime, one.ActualFrameDuration = 0, 60000
    one.Modality, one.SeriesNumber, one.InstanceNumber = "PT", 1, number + 1
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 2, 2, 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = [1, 1], 3
    one.RescaleSlope, one.RescaleIntercept = slope, 0
    one.PixelData = np.full((2, 2), stored, "<u2").tobytes()
    one.save_as(f"series/{number}.dcm", enforce_file_format=True)

alone = [sitk.GetArrayFromImage(sitk.ReadImage(f"series/{number}.dcm")).item(0) for number in range(4)]
print(f"alone: {[float(value) for value in alone]}")
reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames("series"))
image = reader.Execute()
together = [float(value) for value in sitk.GetArrayFromImage(image)[:, 0, 0]]
print(f"as a series: {together}, {image.GetPixelIDTypeAsString()}")
assert alone == [100, 50.5, 151.5, 120000]
assert together == [100, 50, 151, 54464]
PYTHON
