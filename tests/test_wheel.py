"""The wheel alone, away from the repository: `ricenet init`, and the first stages in what that makes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from cloned_project import merge, stages_run
from ruamel.yaml import YAML

from ricenet.project.carried import VIEWER, carried_files

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
TINY = {
    "phantom": {"subjects": 6, "rice_share": 0.5, "seed": 2, "test_fraction": 0.25, "spacing_mm": 4.0},
    "split": {"folds": 2},
    "execution": {"backend": "serial", "workers": 1},
}
HOOK = "from setuptools import build_meta; import sys; print(build_meta.{}(sys.argv[1]))"
DVC = "import sys\nfrom dvc.cli import main\nsys.exit(main())\n"


def run(
    *words: str | Path, at: Path, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    # neither this process's path of modules nor its environment's programs
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command, env = [str(word) for word in words], kept | environment
    done = subprocess.run(command, cwd=at, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{words}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def build(kind: str, source: Path, target: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A wheel or a source distribution, by what pip and build call too."""
    target.mkdir(exist_ok=True)
    return run(sys.executable, "-c", HOOK.format(f"build_{kind}"), target, at=source, check=check)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of what git has, with the viewer; unpacked."""
    if not (REPOSITORY / VIEWER).is_file():
        pytest.skip("viewer.js is not built (make viewer)")
    folder = tmp_path_factory.mktemp("wheel")
    listed = run("git", "ls-files", "-co", "--exclude-standard", at=REPOSITORY).stdout.splitlines()
    for name in (*listed, VIEWER):
        if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "benchmarks/", "viewer/")):
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / "copy" / name)
    build("sdist", folder / "copy", folder / "sdist")
    (archive,) = (folder / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    build("wheel", sources, sources.parent / "wheels")
    (found,) = (sources.parent / "wheels").glob("ricenet-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """An environment with the wheel, and with the packages of this one but for its ricenet."""
    folder = wheel.parents[1] / "environment"
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, at=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    # of a folder that is named here, no .pth file is read: so the editable ricenet is not found
    (site / "others.pth").write_text("\n".join(others) + "\n")
    script = folder / "bin/dvc"
    script.write_text(f"#!{python}\n{DVC}")
    script.chmod(0o755)
    return folder


def test_the_wheel_holds_every_file_that_the_package_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    asked = ("git", "ls-files", "-co", "--exclude-standard", "src/ricenet")
    listed = run(*asked, at=REPOSITORY).stdout.splitlines()
    package = {
        name.removeprefix("src/")
        for name in (*listed, VIEWER)
        if (REPOSITORY / name).is_file() and not name.endswith(".gitignore")
    }
    assert package - names == set()
    carried = {f"ricenet/project/files/{name}" for name in carried_files(REPOSITORY)}
    of_the_wheel = {name for name in names if ".dist-info/" in name}
    assert names - package - of_the_wheel == carried
    for name in ("dvc.yaml", "params.yaml", "src/stages/train.py"):
        packed = zipfile.ZipFile(wheel).read(f"ricenet/project/files/{name}")
        assert packed == (REPOSITORY / name).read_bytes()


def test_without_the_viewer_no_wheel_is_built_and_the_build_says_what_to_do(
    sources: Path, tmp_path: Path
) -> None:
    copy = Path(
        shutil.copytree(sources, tmp_path / "sources", ignore=shutil.ignore_patterns("build", "viewer.js"))
    )
    done = build("wheel", copy, tmp_path / "wheels", check=False)
    assert done.returncode != 0 and "viewer.js is missing" in done.stderr and "`make viewer`" in done.stderr
    assert list((tmp_path / "wheels").glob("*.whl")) == []


def test_a_project_of_the_wheel_runs_by_a_dvc_whose_environment_no_path_names(
    environment: Path, tmp_path: Path
) -> None:
    # git and a shell, and a python of the system at most
    private = {
        "PATH": os.pathsep.join(("/usr/local/bin", "/usr/bin", "/bin")), "HOME": str(tmp_path),
        "DVC_NO_ANALYTICS": "true", "DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    run(environment / "bin/ricenet", "init", "x", at=tmp_path, **private)
    project = tmp_path / "x"
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    merge(params, TINY)
    yaml.dump(params, project / "params.yaml")
    ask = "import ricenet; print(ricenet.__file__)"
    place = run(environment / "bin/python", "-c", ask, at=project, **private).stdout.strip()
    assert Path(place).is_relative_to(environment)
    done = run(environment / "bin/dvc", "repro", "check_cohort", at=project, check=False, **private)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"phantom", "check_cohort"} <= stages_run(done.stdout)
    check = run(environment / "bin/ricenet", "check", at=project, **private)
    assert "no problem found in" in check.stdout
    again = run(environment / "bin/dvc", "repro", "check_cohort", at=project, **private)
    assert stages_run(again.stdout) == set()
