"""The original hd-bet behind the same interface: a stand-in command on PATH, as a user's own would be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ricenet.config.preprocessing import BrainParams
from ricenet.preprocessing.brain.extraction import brain_tools, extract_brain
from ricenet.preprocessing.brain.hd_bet_original import UNKNOWN, installed_version
from ricenet.runtime.errors import RicenetError, ScanError
from ricenet.volume import Grid, Volume

STAND_IN = """#!{python}
import json, pathlib, sys
import nibabel
import numpy
arguments = sys.argv[1:]
pathlib.Path({record!r}).write_text(json.dumps(arguments))
image = nibabel.load(arguments[arguments.index("-i") + 1])
output = arguments[arguments.index("-o") + 1]
assert output.endswith(".nii.gz")
mask = (numpy.asarray(image.dataobj) > 50).astype(numpy.uint8)
{then}
nibabel.Nifti1Image(mask, image.affine).to_filename(output[:-7] + "_bet.nii.gz")
"""


def head() -> Volume:
    """A cube of 100 with 1000 ml in a larger field, oblique and stored upside down."""
    data = np.zeros((40, 44, 48), dtype=np.float32)
    data[10:30, 12:32, 14:34] = 100
    affine = np.diag([-5.0, 5.0, -5.0, 1.0])
    affine[:3, :3] @= [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    return Volume(data, Grid((40, 44, 48), affine))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a command hd-bet on PATH."""
    command = folder / "hd-bet"
    command.write_text(text)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, then: str = "") -> Path:
    """Install one that finds what is brighter than 50; returns where it notes its arguments."""
    record = folder / "arguments.json"
    install(folder, monkeypatch, STAND_IN.format(python=sys.executable, record=str(record), then=then))
    return record


def extracted(mirroring: bool = False, device: str = "cpu") -> Volume:
    return extract_brain(head(), "sub-003", "post-op T1ce", params(mirroring=mirroring, device=device))


def params(**settings: object) -> BrainParams:
    asked = {"mode": "fast", "mirroring": False, "precision": "auto", "device": "cpu", "engine": "original"}
    return BrainParams.model_validate(asked | settings)


def test_the_mask_lies_on_the_images_own_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch)
    mask = extracted()
    assert mask.data.dtype == np.bool_
    assert np.array_equal(mask.data, head().data > 0)
    assert np.array_equal(mask.grid.affine, head().grid.affine)


@pytest.mark.parametrize(("mirroring", "device"), [(False, "cpu"), (True, "cuda")])
def test_it_is_asked_for_a_mask_alone_on_the_device_and_with_the_mirroring_of_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirroring: bool, device: str
) -> None:
    record = stand_in(tmp_path, monkeypatch)
    extracted(mirroring, device)
    arguments = record.read_text()
    assert f'"-device", "{device}", "--save_bet_mask", "--no_bet_image"' in arguments
    assert ("--disable_tta" in arguments) is not mirroring


def test_nothing_of_the_image_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    stand_in(tmp_path, monkeypatch)
    extracted()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("then", "found"),
    [
        ("sys.exit('CUDA out of memory')", r"ended with status 1 and without a mask:\nCUDA out of memory"),
        ("print('no weights'); sys.exit(0)", r"ended with status 0 and without a mask:\nno weights"),
        ("sys.exit(0)", r"ended with status 0 and without a mask:\n\(it wrote nothing\)"),
        ("mask = mask[1:]", r"hd-bet's mask has the shape \(39, 44, 48\), the image \(40, 44, 48\)"),
        ("mask[:] = 0", r"HD-BET found a brain of 0 ml, expected 600 to 2400 ml"),
    ],
    ids=["failed", "silent", "nothing", "other shape", "empty"],
)
def test_what_went_wrong_is_reported_with_the_subject_and_the_tools_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, found: str
) -> None:
    stand_in(tmp_path, monkeypatch, then)
    with pytest.raises(ScanError, match=rf"(?s)^sub-003: post-op T1ce: .*{found}"):
        extracted()


def test_only_the_end_of_a_long_complaint_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "sys.exit('\\n'.join(f'line {n}.' for n in range(100)))")
    with pytest.raises(ScanError) as caught:
        extracted()
    assert "line 99." in caught.value.found and "line 85." in caught.value.found
    assert "line 84." not in caught.value.found


def test_without_the_command_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RicenetError, match=r"engine is original, but there is no command `hd-bet` on PATH"):
        extracted()
    with pytest.raises(RicenetError, match=r"or set the engine to minimal"):
        brain_tools(params(device="auto"))


@pytest.mark.parametrize(
    "start", ["#!{python}\n", '#!/bin/sh\n"exec" "{python}" "$0" "$@"\n'], ids=["short path", "long path"]
)
def test_the_version_is_asked_of_the_python_that_runs_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    python = tmp_path / "python3.12"
    python.write_text("#!/bin/sh\necho 2.0.1\n")
    python.chmod(0o755)
    install(tmp_path, monkeypatch, start.format(python=python))
    assert installed_version() == "2.0.1"
    assert brain_tools(params(precision="float32")) == {
        "brain_engine": "hd-bet 2.0.1",
        "brain_device": "cpu",
    }


@pytest.mark.parametrize("start", ["#!/bin/sh\n", f"#!{sys.executable}\n"], ids=["no Python", "no package"])
def test_a_version_that_cannot_be_found_is_called_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    install(tmp_path, monkeypatch, start)
    assert installed_version() == UNKNOWN
