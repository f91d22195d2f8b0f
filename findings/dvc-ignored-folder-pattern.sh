#!/bin/sh
# DVC does not see a .dvc file that git sees, where .gitignore names all folders below its own folder (`/data/*/`).
#
# Versions: dvc 3.67.1 with dulwich 1.2.21 (its reader of .gitignore), git 2.39 or later.
# Seen: with the line `/data/*/`, git ignores folders in data/ and nothing else, and `git check-ignore data` finds
# nothing. dulwich takes the folder data/ itself for ignored, and DVC does not walk into it: data/cohort.dvc is not
# among its stages, so that `dvc status`, `dvc push` and `dvc pull` leave it out without a word. With `/data/[!.]*/`,
# which means the same to git, DVC sees it.
# Output seen (stages that DVC knows by `dvc stage list --all`):
#   /data/*/: none
#   /data/[!.]*/: data/cohort.dvc
# Right by gitignore(5): a pattern with a slash at its end matches folders; `*` matches at least one name, so
# `/data/*/` cannot match data/ itself.
# So: a cohort that was added with `dvc add` neither travels nor is checked, and nothing says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dvc==3.67.1 dulwich==1.2.21
export DVC_NO_ANALYTICS=true
mkdir -p project/data/cohort
cd project
git init --quiet
../venv/bin/dvc init --quiet
echo volume > data/cohort/volume
../venv/bin/dvc add --quiet data/cohort
seen() {
    printf '%s\n' "$1" > .gitignore
    rm -f data/.gitignore
    ../venv/bin/dvc stage list --all --name-only 2>/dev/null | grep . || echo none
}
first=$(seen '/data/*/')
second=$(seen '/data/[!.]*/')
echo "/data/*/: $first"
echo "/data/[!.]*/: $second"
printf '/data/*/\n' > .gitignore
! git check-ignore --quiet data/cohort.dvc
test "$first" = none
test "$second" = data/cohort.dvc
