#!/bin/sh
# SimpleITK writes a composite transform as .mat without an error, and cannot read the file again.
#
# Versions: SimpleITK 2.5.7.
# Seen: .mat holds a transform's parameters; a composite of an Euler transform and a translation becomes 100 bytes that
# hold the translation's three parameters under the composite's name. Reading fails; .tfm and .h5 come back whole.
# Output seen:
#   .mat: written, 100 bytes; read: Input parameter list size is not expected size. 3 instead of 0.
#   .tfm: written; read: 2 transforms
#   .h5: written; read: 2 transforms
# So: the success of WriteTransform says nothing; read back what a registration is to be kept in.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check SimpleITK==2.5.7
venv/bin/python -I - <<'PYTHON'
import os

import SimpleITK as sitk

turn = sitk.Euler3DTransform((0, 0, 0), 0.1, 0.2, 0.3, (1, 2, 3))
composite = sitk.CompositeTransform([turn, sitk.TranslationTransform(3, (5, 6, 7))])
sitk.WriteTransform(composite, "both.mat")
size = os.path.getsize("both.mat")
try:
    sitk.ReadTransform("both.mat")
    said = "no error"
except RuntimeError as error:
    said = str(error).strip().splitlines()[-1].split("): ")[-1]
print(f".mat: written, {size} bytes; read: {said}")
assert said.startswith("Input parameter list size is not expected size") and size == 100
for ending in ("tfm", "h5"):
    sitk.WriteTransform(composite, f"both.{ending}")
    count = sitk.CompositeTransform(sitk.ReadTransform(f"both.{ending}")).GetNumberOfTransforms()
    print(f".{ending}: written; read: {count} transforms")
    assert count == 2
PYTHON
