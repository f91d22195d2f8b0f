#!/bin/sh
# Between the middle of the last voxel and its outer face, scipy's two kinds of "constant" and ITK give three answers.
#
# Versions: scipy 1.15.3, SimpleITK 2.5.7, numpy 2.3.5.
# Seen: linear interpolation in a volume of 60 everywhere, 0 outside, at 0, 0.25, 0.49 and 0.75 voxels beyond the
# last middle. scipy "constant" is 0 at once, "grid-constant" falls off linearly towards a voxel of 0, and ITK holds the
# last value up to the face, as a voxel that has an extent.
# Output seen:
#   scipy constant: [60.0, 0.0, 0.0, 0.0]
#   scipy grid-constant: [60.0, 45.0, 30.6, 15.0]
#   ITK: [60.0, 60.0, 60.0, 0.0]
# So: for a scan of few thick slices, the choice decides whether some percent of the head are seen, invented or 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check scipy==1.15.3 SimpleITK==2.5.7 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

beyond = np.array([0.0, 0.25, 0.49, 0.75])
volume = np.full((5, 5, 5), 60.0)
points = np.stack([4 + beyond, np.full(4, 2.0), np.full(4, 2.0)])


def by_itk(x):
    target = sitk.Image(1, 1, 1, sitk.sitkFloat64)
    target.SetOrigin((float(x), 2.0, 2.0))
    image = sitk.GetImageFromArray(volume)
    return sitk.GetArrayFromImage(sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear, 0.0)).item()


found = {
    f"scipy {mode}": ndimage.map_coordinates(volume, points, order=1, mode=mode, cval=0.0).round(3).tolist()
    for mode in ("constant", "grid-constant")
} | {"ITK": [by_itk(4 + step) for step in beyond]}
for name, values in found.items():
    print(f"{name}: {values}")
assert found == {
    "scipy constant": [60.0, 0.0, 0.0, 0.0],
    "scipy grid-constant": [60.0, 45.0, 30.6, 15.0],
    "ITK": [60.0, 60.0, 60.0, 0.0],
}
PYTHON
