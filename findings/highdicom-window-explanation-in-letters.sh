#!/bin/sh
# highdicom stores the explanation of a window letter by letter.
#
# Versions: highdicom 0.28.2; pydicom 3.0.2, numpy 2.3.5.
# Valid input: VOILUTTransformation with numbers and a text, as its docstring offers them (float, float, str).
# Seen: Window Center & Width Explanation gets one value for each letter, "b\r\a\i\n" in the file. No warning.
# DICOM PS3.3, C.11.2.1.2: it explains each window, so it has as many values as Window Center, one here.
# Output seen:
#   given as a text: ['b', 'r', 'a', 'i', 'n'] for 1 window
#   given in lists: ['brain'] for 1 window
# So: pass centre, width and explanation in lists of one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check highdicom==0.28.2 pydicom==3.0.2 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
from highdicom import VOILUTTransformation


def stored(window):
    value = window.WindowCenterWidthExplanation
    return [value] if isinstance(value, str) else list(value)


as_text = stored(VOILUTTransformation(40.0, 80.0, "brain"))
in_lists = stored(VOILUTTransformation([40.0], [80.0], ["brain"]))
print(f"given as a text: {as_text} for 1 window")
print(f"given in lists: {in_lists} for 1 window")
assert as_text == ["b", "r", "a", "i", "n"]
assert in_lists == ["brain"]
PYTHON
