#!/bin/sh
# Runs a stage with a python that has ricenet: that of the path, of the project's .venv, or the one that `ricenet init` or
# `ricenet upgrade` ran with; `.venv/bin/dvc repro` puts neither on the path. Usage: sh src/stages/python.sh src/stages/train.py
home=${PWD%%/.dvc/*} # `dvc exp run --temp` works in a copy below .dvc, without .venv
noted=
[ -r "$home/.ricenet/python" ] && read -r noted <"$home/.ricenet/python"
for python in python "$home/.venv/bin/python" "${noted:-python3}" python3; do
  if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("ricenet") is None)' 2>/dev/null
  then
    exec "$python" "$@"
  fi
done
echo "error: no python here has ricenet: neither python on the path nor .venv/bin/python. Run \`make setup\`," \
  "or activate the environment that has it (source .venv/bin/activate) and repeat the command" >&2
exit 1
