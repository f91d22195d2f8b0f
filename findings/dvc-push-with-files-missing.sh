#!/bin/sh
# DVC says "Everything is up to date" though a file of a pushed folder is missing from the remote.
#
# Versions: dvc 3.67.1.
# Seen: a folder is pushed to a remote in a folder; one of its files is then removed there, as an incomplete copy of the
# remote leaves it. `dvc push` looks for the folder's list (the object that ends in .dir), finds it, and pushes nothing.
# A clone's `dvc pull` fails and names the missing object by its MD5 alone. With the list removed from the remote too,
# `dvc push` sends what is missing.
# Output seen:
#   push with a file missing: Everything is up to date.
#   objects in the remote after it: 2
#   push with the list missing as well: 2 files pushed
#   objects in the remote after it: 3
# So: a remote that was copied or restored is not made whole by `dvc push`; delete its .dir objects first, which are
# small, and push again.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dvc==3.67.1
export DVC_NO_ANALYTICS=true
mkdir -p project/cohort remote
cd project
../venv/bin/dvc init --no-scm --quiet
../venv/bin/dvc remote add --default kept ../remote --quiet
echo post-op > cohort/post_op
echo event > cohort/event
../venv/bin/dvc add --quiet cohort
../venv/bin/dvc push --quiet
objects() { find ../remote -type f | wc -l; }
test "$(objects)" = 3
missing=$(find ../remote -type f ! -name '*.dir' | sort | head -n 1)
chmod u+w "$(dirname "$missing")" && rm -f "$missing"
first=$(../venv/bin/dvc push)
echo "push with a file missing: $first"
echo "objects in the remote after it: $(objects)"
test "$first" = "Everything is up to date."
test "$(objects)" = 2
find ../remote -type f -name '*.dir' -exec rm -f {} +
second=$(../venv/bin/dvc push)
echo "push with the list missing as well: $second"
echo "objects in the remote after it: $(objects)"
test "$(objects)" = 3
