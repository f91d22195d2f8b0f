"""DVC sees a library module only where it is listed: each stage lists the folders that decide its results."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ricenet.runtime.code_digest import INDIFFERENT, code_digest, import_closure, module_file

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src"

SHOWN = frozenset({"cli", "display"})
"""How results are shown decides none of them."""

PUBLISHED = frozenset({"tracking", "inference", "evaluation", "report", "screening"})
SIDE_EFFECTS = {"train": PUBLISHED, "tune": PUBLISHED, "report": {"tracking"}, "vote": {"tracking"}}
"""Folders that a stage reaches only to show its results in MLflow."""


def stages() -> dict[str, dict[str, object]]:
    yaml = YAML(typ="safe")
    main, demo = (yaml.load(PROJECT / name)["stages"] for name in ("dvc.yaml", "src/stages/dvc.yaml"))
    return {**demo, **main}


@pytest.mark.parametrize("name", sorted(stages()))
def test_a_stage_lists_every_folder_that_decides_its_result(name: str) -> None:
    stage = stages()[name]
    if stage.get("always_changed"):
        pytest.skip("runs every time, whatever changed")
    script = "ricenet/phantom/write_cohort.py" if name == "phantom" else f"stages/{name}.py"
    ignored = INDIFFERENT | SHOWN | SIDE_EFFECTS.get(name, set())
    listed = [PROJECT / str(dep) for dep in stage["deps"] if str(dep).startswith("src/")]  # type: ignore[attr-defined]
    missing = sorted(
        str(path.relative_to(PROJECT))
        for path in import_closure(frozenset({SOURCE / script}), ignored)
        if path.name != "__init__.py" and not any(path == dep or dep in path.parents for dep in listed)
    )
    assert missing == []


@pytest.mark.parametrize("name", sorted(stages()))
def test_every_listed_dependency_on_code_exists(name: str) -> None:
    for dep in stages()[name]["deps"]:  # type: ignore[attr-defined]
        if str(dep).startswith("src/") or dep == "requirements.lock":
            assert (PROJECT / str(dep)).exists(), dep


@pytest.mark.parametrize(
    ("result", "readers"),
    [
        # pages to look at decide nothing
        ("work/quality", {"register", "report"}),
        ("work/repeats", {"evidence"}),
        ("work/learning_curve", {"evidence"}),
        ("work/evidence", {"register", "report", "resolve"}),
        ("work/vote", {"ledger", "register", "report"}),
    ],
)
def test_what_only_tells_of_the_models_is_read_by_what_tells_of_it(result: str, readers: set[str]) -> None:
    assert {name for name, stage in stages().items() if result in stage["deps"]} == readers  # type: ignore[operator]


def test_a_closure_holds_what_is_imported_inside_functions_too_but_not_how_work_is_spread() -> None:
    closure = import_closure(frozenset({module_file("ricenet.preprocessing.measurements")}))
    names = {path.relative_to(SOURCE / "ricenet").as_posix() for path in closure}
    assert {
        "preprocessing/dose_cube.py",
        "preprocessing/registration/ants.py",
        "volume.py",
        "vocabulary.py",
    } <= names
    assert not {name for name in names if name.startswith(("runtime/", "config/", "training/"))}


def test_the_digest_is_of_the_closure_whatever_the_order_of_modules() -> None:
    cube, fold = "ricenet.preprocessing.cube", "ricenet.training.fold"
    assert code_digest(cube, fold) == code_digest(fold, cube)
    assert code_digest(cube) != code_digest(fold) != code_digest(cube, fold)
