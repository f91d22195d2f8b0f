#!/bin/sh
# A NIfTI whose qform and sform differ lies in two places: nibabel takes the sform, ITK mostly the qform.
#
# Versions: nibabel 5.4.2, SimpleITK 2.5.7, numpy 2.3.5.
# Valid input: NIfTI-1 has two transforms, each with a code, so that a file may be in the scanner's and in another
# space at once (registered images are often kept so).
# Seen: qform at x = 0 mm, sform at x = 20 mm. SimpleITK takes the sform only where its code is 1, and then not
# where it is sheared by 1 %: it falls back to the qform without a warning. Both codes 2 (aligned): the qform, too.
# Output seen (qform code, sform code: x of the first voxel in mm by nibabel, by SimpleITK):
#   (1, 1): 20 and 20
#   (2, 1): 20 and 20
#   (1, 2): 20 and 0
#   (2, 2): 20 and 0
#   (4, 2): 20 and 0
#   (1, 1), sheared: 20 and 0
# So: a mask made by a tool on ITK and a dose placed by one on nibabel can be 20 mm apart in one file's space.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check nibabel==5.4.2 SimpleITK==2.5.7 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk


def places(codes, shear=0.0):
    qform, sform = np.eye(4), np.eye(4)
    sform[0, 3], sform[0, 1] = 20, shear
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    nibabel.save(image, "image.nii")
    # ITK's x points the other way
    return round(nibabel.load("image.nii").affine[0, 3]), round(-sitk.ReadImage("image.nii").GetOrigin()[0])


found = {str(codes): places(codes) for codes in ((1, 1), (2, 1), (1, 2), (2, 2), (4, 2))}
found["(1, 1), sheared"] = places((1, 1), shear=0.01)
for name, (by_nibabel, by_itk) in found.items():
    print(f"{name}: {by_nibabel} and {by_itk}")
assert list(found.values()) == [(20, 20), (20, 20), (20, 0), (20, 0), (20, 0), (20, 0)]
PYTHON
