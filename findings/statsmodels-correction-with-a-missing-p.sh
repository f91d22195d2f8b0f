#!/bin/sh
# statsmodels' multipletests takes a missing p-value for one more test, and with fdr_bh loses all corrected p-values
# while still rejecting.
#
# Versions: statsmodels 0.15.0, numpy 2.3.5, scipy 1.15.3, pandas 3.1.1.
# Valid input: a family of comparisons of which one could not be computed, as nan.
# Seen: Holm multiplies by four instead of three (0.003 becomes 0.004, and 0.03 is no longer significant). By
# Benjamini and Hochberg every corrected p is nan, and three of the four nulls are rejected all the same.
# Output seen:
#   holm, three: reject [True, True, True], p [0.003, 0.008, 0.03]
#   holm, three and nan: reject [True, True, False, False], p [0.004, 0.012, 0.06, nan]
#   fdr_bh, three: reject [True, True, True], p [0.003, 0.006, 0.03]
#   fdr_bh, three and nan: reject [True, True, True, False], p [nan, nan, nan, nan]
# So: leave missing p-values out before correcting, and say how many.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check statsmodels==0.15.0 numpy==2.3.5 scipy==1.15.3 pandas==3.1.1
venv/bin/python -I - <<'PYTHON'
import numpy as np
from statsmodels.stats.multitest import multipletests

three = np.array([0.001, 0.004, 0.03])
found = {}
for method in ("holm", "fdr_bh"):
    for name, p in (("three", three), ("three and nan", np.append(three, np.nan))):
        reject, corrected = multipletests(p, method=method)[:2]
        found[f"{method}, {name}"] = reject.tolist(), corrected.round(6).tolist()
        print(f"{method}, {name}: reject {reject.tolist()}, p {corrected.round(6).tolist()}")
np.testing.assert_allclose(found["holm, three"][1], [0.003, 0.008, 0.03])
np.testing.assert_allclose(found["holm, three and nan"][1], [0.004, 0.012, 0.06, np.nan])
assert found["holm, three and nan"][0] == [True, True, False, False]
assert np.isnan(found["fdr_bh, three and nan"][1]).all()
assert found["fdr_bh, three and nan"][0] == [True, True, True, False]
PYTHON
