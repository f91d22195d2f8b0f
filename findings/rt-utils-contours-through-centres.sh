#!/bin/sh
# rt-utils writes a mask's contours through the middles of its outermost voxels: structures shrink by half a voxel.
#
# Versions: rt-utils 1.2.7, opencv-python 5.0.0.93, pydicom 3.0.2, numpy 2.3.5.
# Valid input: a CT of 1 mm pixels and a mask of 20 x 20 of them, which is a square of 400 mm2.
# Seen: the RTSTRUCT's contour encloses 19 x 19 mm, 361 mm2, so that every reader which takes contours for outlines
# (planning systems, dose-volume histograms) gets 10 % less. rt-utils itself reads 400 voxels back, since it fills the
# contour's own pixels: a round trip through it does not show the loss.
# Output seen:
#   contour from (5.0, 5.0) to (24.0, 24.0) mm: 361 mm2; the mask: 400 mm2; read back by rt-utils: 400 voxels
# So: do not take volumes or doses by an RTSTRUCT from rt-utils for those of the mask, the less so the smaller it is.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check rt-utils==1.2.7 opencv-python==5.0.0.93 pydicom==3.0.2 \
  numpy==2.3.5
mkdir ct
venv/bin/python -I - <<'PYTHON'
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

study, series, frame = (generate_uid() for _ in range(3))
for number in range(4):
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
    one.Modality, one.InstanceNumber, one.SeriesNumber = "CT", number + 1, 1
    one.PatientName = one.PatientID = one.PatientBirthDate = one.PatientSex = one.StudyID = ""
    one.PositionReferenceIndicator = ""
    one.StudyDate = one.StudyTime = one.AccessionNumber = one.ReferringPhysicianName = one.Manufacturer = ""
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 40, 40, 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = [1, 1], 3
    one.ImageType, one.KVP, one.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 120, 1
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    one.PixelData = np.zeros((40, 40), "<i2").tobytes()
    one.save_as(f"ct/{number}.dcm", enforce_file_format=True)

mask = np.zeros((40, 40, 4), bool)
mask[5:25, 5:25, 1:3] = True
structures = RTStructBuilder.create_new(dicom_series_path="ct")
structures.add_roi(mask=mask, name="square")
structures.save("square.dcm")
contour = dcmread("square.dcm").ROIContourSequence[0].ContourSequence[0].ContourData
x, y = np.array(contour, float).reshape(-1, 3)[:, :2].T
area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
back = RTStructBuilder.create_from("ct", "square.dcm").get_roi_mask_by_name("square").sum(axis=(0, 1))[1]
low, high = (float(x.min()), float(y.min())), (float(x.max()), float(y.max()))
print(f"contour from {low} to {high} mm: {area:.0f} mm2; the mask: 400 mm2; read back by rt-utils: {back} voxels")
assert (low, high, area, back) == ((5, 5), (24, 24), 361, 400)
PYTHON
