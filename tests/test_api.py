"""The public API: what is stated in docs/api.md exists, loads lazily, and its notebook runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cohorts import write_tiny_cohort
from small_ensembles import ensemble_record, write_untrained
from small_folds import CUBE, write_subjects

import ricenet

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()


def test_the_page_states_what_can_be_imported() -> None:
    table = PAGE[: PAGE.index("## In a notebook")]
    stated = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    assert stated == set(ricenet.__all__)
    assert set(ricenet.__all__) <= set(dir(ricenet))
    for name in ricenet.__all__:
        assert getattr(ricenet, name) is not None


def test_what_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'spam'"):
        ricenet.spam  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, ricenet; print({'torch', 'numpy', 'pydantic', 'mlflow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_the_notebook_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_cohort(tmp_path / "data" / "mine")
    write_subjects(tmp_path / "work" / "preprocessed")
    record = ensemble_record("dose", preprocessing={"cube_voxels": CUBE, "spacing_mm": 20.0})
    write_untrained(tmp_path / "models" / "ensembles" / "dose", record)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "4 subjects without a problem, 0 problem(s)"
    expected = re.findall(r"print\(.*\)  # (.*)", PAGE)
    assert expected == [printed[2], printed[4]]
    assert re.fullmatch(r"\d of \d folds vote for RICE", printed[3])
