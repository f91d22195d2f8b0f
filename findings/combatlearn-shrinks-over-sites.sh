#!/bin/sh
# combatlearn's "johnson" ComBat shrinks a site's shift towards the mean of all sites, not of all features.
#
# Versions: combatlearn 2.3.0, neuroCombat 0.2.12, numpy 2.3.5.
# Seen: ten subjects at each of two sites, the second 1 SD above the first in all of twenty features. Both packages
# name Johnson et al. 2007 as their source. neuroCombat leaves nothing of the shift; combatlearn leaves a part of it,
# by either of its methods "johnson" and "fortin".
# Output seen:
#   neuroCombat: 0.00 SD between the sites
#   combatlearn johnson: 0.17 SD between the sites
#   combatlearn fortin: 0.17 SD between the sites
# Right: Johnson et al. 2007, section 3.2: the prior of a batch's shift has the mean and the variance of that batch's
# shifts over genes, and that of its spread likewise. combatlearn takes both over batches, feature by feature
# (`gamma_hat.mean(axis=0)` of an array of batches by features), so that with few sites a shift that all features
# share, as a scanner's is, is pulled towards none.
# So: features that it harmonised still tell the site; hold what a harmonisation leaves against neuroCombat, which
# fits all subjects at once, or write the fit within training folds.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check combatlearn==2.3.0 neuroCombat==0.2.12 numpy==2.3.5
venv/bin/python -I - <<'PYTHON'
import contextlib
import io

import numpy as np
import pandas as pd
from combatlearn.core import ComBatModel
from neuroCombat import neuroCombat

site = np.repeat([1, 2], 10)
values = np.random.default_rng(0).normal(size=(20, 20))
for own in (site == 1, site == 2):
    values[own] -= values[own].mean(axis=0)
values /= values.std(axis=0)
values[site == 2] += 1.0


def apart(harmonised):
    return float(np.abs(harmonised[site == 2].mean(axis=0) - harmonised[site == 1].mean(axis=0)).mean())


with contextlib.redirect_stdout(io.StringIO()):
    theirs = neuroCombat(dat=values.T, covars=pd.DataFrame({"site": site}), batch_col="site")["data"].T
found = {"neuroCombat": apart(theirs)}
for method in ("johnson", "fortin"):
    model = ComBatModel(method=method)
    batch, table = pd.Series(site), pd.DataFrame(values)
    model.fit(table, batch=batch)
    found[f"combatlearn {method}"] = apart(model.transform(table, batch=batch).to_numpy())
for name, left in found.items():
    print(f"{name}: {left:.2f} SD between the sites")
assert found["neuroCombat"] < 0.01
assert found["combatlearn johnson"] > 0.1 and found["combatlearn fortin"] > 0.1
PYTHON
