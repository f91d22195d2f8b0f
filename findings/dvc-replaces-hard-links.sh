#!/bin/sh
# DVC replaces hard links in a stage's output by copies, writable ones, and keeps a third copy in its cache.
#
# Versions: dvc 3.67.1.
# Seen: a stage lays out a file of 1 MB as a hard link to a read-only store. After `dvc repro` the output is another
# inode of mode 644 and the store's link count is 1: the file lies on the disk three times (store, output, cache).
# The same output with `cache: false` keeps its link and its mode.
# Output seen (links and mode of the output):
#   cached: 1 644
#   cache: false: 2 444
# So: a store of one's own beside DVC saves room only for outputs that DVC does not cache.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dvc==3.67.1
export DVC_NO_ANALYTICS=true
mkdir project store
head -c 1000000 /dev/zero > store/volume
chmod 444 store/volume
cd project
cat > dvc.yaml <<'YAML'
stages:
  lay_out:
    cmd: mkdir -p cached plain && ln ../store/volume cached/volume && ln ../store/volume plain/volume
    outs:
      - cached
      - plain:
          cache: false
YAML
../venv/bin/dvc init --no-scm --quiet
../venv/bin/dvc repro --quiet
cached=$(stat -c '%h %a' cached/volume)
plain=$(stat -c '%h %a' plain/volume)
echo "cached: $cached"
echo "cache: false: $plain"
test "$cached" = "1 644"
test "$plain" = "2 444"
test "$(find .dvc/cache/files -type f -size +900k | wc -l)" = 1
