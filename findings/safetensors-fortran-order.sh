#!/bin/sh
# safetensors.numpy 0.8.0 stores an array that is not in C order with its values in other places; 0.7.0 did not.
#
# Versions: safetensors 0.7.0 and 0.8.0, numpy 2.3.5.
# Valid input: any numpy array; what volumes read by nibabel and transposed ones are.
# Seen: shape and type come back, the values of the memory in its own order, without an error or a warning.
# Output seen:
#   0.7.0: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
#   0.8.0: [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
# So: numpy.ascontiguousarray before save_file, or the torch side, which refuses such tensors.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
for version in 0.7.0 0.8.0; do
  venv/bin/pip install --quiet --disable-pip-version-check "safetensors==$version" numpy==2.3.5
  venv/bin/python -I - "$version" <<'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

version = sys.argv[1]
expected = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
array = np.asfortranarray(expected)
turned = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
save_file({"array": array, "turned": turned}, "arrays.safetensors")
read = load_file("arrays.safetensors")
print(f"{version}: {read['array'].tolist()}")
if version == "0.7.0":
    assert read["array"].tolist() == expected and np.array_equal(read["turned"], turned)
else:
    assert read["array"].tolist() == [[0.0, 3.0, 1.0], [4.0, 2.0, 5.0]]
    assert read["turned"].shape == turned.shape and not np.array_equal(read["turned"], turned)
PYTHON
done
