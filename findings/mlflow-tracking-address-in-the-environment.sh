#!/bin/sh
# MLflow's set_tracking_uri also writes the address into the environment, and so into every program started later.
#
# Versions: mlflow-skinny 3.17.2 with sqlalchemy.
# Seen: after `mlflow.set_tracking_uri(a)` the variable MLFLOW_TRACKING_URI of the process holds a. A program that it
# starts, of another project, then logs to a, as if its user had asked for that.
# Output seen:
#   before: None
#   after: http://127.0.0.1:9
#   a program started afterwards: http://127.0.0.1:9
# Expected: a setting of the process, as its name and the documentation have it.
# So: who serves several projects from one process, or starts stages of another one, sets the variable back.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
export MLFLOW_DISABLE_TELEMETRY=true
unset MLFLOW_TRACKING_URI
cat > set.py <<'PY'
import os
import subprocess
import sys

import mlflow

name = "MLFLOW_TRACKING_URI"
before = os.environ.get(name)
mlflow.set_tracking_uri("http://127.0.0.1:9")
asked = [sys.executable, "-c", "import mlflow; print(mlflow.get_tracking_uri())"]
other = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
print("before:", before)
print("after:", os.environ.get(name))
print("a program started afterwards:", other)
assert before is None
assert os.environ[name] == other == "http://127.0.0.1:9"
PY
venv/bin/python set.py
