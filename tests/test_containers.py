"""The images: what they copy exists and reaches the engine, what is private does not, pins are the lock's."""

from __future__ import annotations

import json
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ricenet.project.carried import VIEWER, carried_files

PROJECT = Path(__file__).parents[1]
DOCKERFILES = ("Dockerfile", "mlflow/Dockerfile")


def instructions(name: str) -> list[tuple[str, str]]:
    """Keyword and words of each instruction, continued lines joined, comments left out."""
    lines = [line for line in (PROJECT / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def copied(name: str) -> list[str]:
    """Paths of the repository that an image copies."""
    words = [rest.split() for keyword, rest in instructions(name) if keyword == "COPY"]
    return [source for line in words if not line[0].startswith("--from") for source in line[:-1]]


def reaches_the_engine(path: str, ignore: Path) -> bool:
    """As Docker has it: the last line that matches a path, or a folder above it, decides."""
    reaches = True
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for line in ignore.read_text().splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and any(matches(one, pattern) for one in above):
            reaches = line.startswith("!")
    return reaches


def matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(path.rsplit("/", 1)[-1], pattern.removeprefix("**/"))
    # a star does not stand for a slash
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_is_there_and_reaches_the_engine(name: str) -> None:
    ignore = PROJECT / f"{name}.dockerignore"
    assert copied(name)
    for source in copied(name):
        path = PROJECT / source
        assert path.exists(), source
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        assert any(reaches_the_engine(p.relative_to(PROJECT).as_posix(), ignore) for p in files), source


def test_all_that_the_wheel_is_made_of_reaches_the_engine() -> None:
    ignore, sources = PROJECT / "Dockerfile.dockerignore", copied("Dockerfile")
    others = ("pyproject.toml", "setup.py", "viewer/build.mjs", "src/ricenet/cli/main.py")
    for path in (*carried_files(PROJECT), *others):
        assert reaches_the_engine(path, ignore), path
        assert any(path == one or path.startswith(f"{one.removesuffix('/')}/") for one in sources), path


@pytest.mark.parametrize(
    "path",
    [
        *("data/mine/sub-001/anat.nii.gz", "data/mine.dvc", "work/store/a", "models/x", ".git/config"),
        *("mlflow/mlflow.db", "mlflow/server/passwords", "mlflow/compose.env", "mlflow/artifacts/1/x"),
        *(".dvc/config.local", "map.csv", ".venv/bin/python", "src/ricenet/__pycache__/x.pyc", VIEWER),
    ],
)
def test_what_is_private_or_built_again_does_not(path: str) -> None:
    for name in DOCKERFILES:
        assert not reaches_the_engine(path, PROJECT / f"{name}.dockerignore")


def test_every_stage_that_is_named_exists_and_the_base_is_a_supported_python() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    used = set(re.findall(r"--from=(\S+)", text)) | set(re.findall(r"^FROM (\w+)(?: |$)", text, re.MULTILINE))
    container = json.loads((PROJECT / ".devcontainer/devcontainer.json").read_text())
    assert used - {"python"} | {container["build"]["target"]} <= stages
    assert (PROJECT / ".devcontainer" / container["build"]["dockerfile"]).resolve() == PROJECT / "Dockerfile"
    (version,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)\.\d+$", text, re.MULTILINE)
    (supported,) = re.findall(r"^SUPPORTED := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert version in supported.split()
    assert f"python:{version}" in (PROJECT / "mlflow/Dockerfile").read_text()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_pip_installs_what_the_lock_pins_and_names_no_version_of_its_own(name: str) -> None:
    pins = (PROJECT / "requirements.lock").read_text().splitlines()
    locked = {pin.partition("==")[0].lower() for pin in pins}
    installs = [rest for keyword, rest in instructions(name) if keyword == "RUN" and "pip install" in rest]
    assert installs
    for command in installs:
        install = next(part for part in command.split("&&") if "pip install" in part)
        assert "requirements.lock" in install and "==" not in install
        # options, and the wheel that was built here
        words = re.sub(r'\$\{[^}]*\}|"\$\(.*\)\[[^"]*"|--\S+( \S*requirements.lock)?', "", install).split()
        names = {word.strip('"').partition("[")[0].lower() for word in words} - {"pip", "install"}
        assert names <= locked, names - locked


@pytest.mark.parametrize("name", DOCKERFILES)
def test_its_commands_are_valid_for_the_shell(name: str) -> None:
    for keyword, rest in instructions(name):
        if keyword == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)


def test_the_extras_of_the_image_exist() -> None:
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    project = (PROJECT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))


def test_the_compose_file_builds_what_is_there() -> None:
    services = YAML(typ="safe").load(PROJECT / "mlflow/compose.yaml")["services"]
    builds = [service["build"] for service in services.values() if "build" in service]
    for build in builds:
        folder = (PROJECT / "mlflow" / build["context"]).resolve()
        assert (folder / build["dockerfile"]).is_file()
    assert builds
