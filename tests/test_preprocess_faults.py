"""What real cohorts and real machines do to preprocessing, with the real ANTs and HD-BET."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
from heads import DOSE_HEIGHT
from numpy.typing import NDArray
from preprocessed_subjects import saved_volumes

from ricenet.cohort.checked import write_checked_cohort
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import RawSubject
from ricenet.config.preset import change_settings
from ricenet.phantom.write_cohort import write_phantom
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.files import read_json
from ricenet.volume import Affine, Grid, dice, load_nifti, resample

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
SUBJECTS = ("sub-001", "sub-002")


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads of 3 mm as a cohort."""
    folder = tmp_path_factory.mktemp("heads") / "cohort"
    write_phantom(
        folder, 2, 7, DOSE_HEIGHT, test_fraction=0.0, spacing_mm=3.0, single_fraction_share=0.0,
        backend="serial",
    )  # fmt: skip
    return folder


@pytest.fixture
def project(heads: Path, tmp_path: Path) -> Path:
    """A folder in which the stage `preprocess` can run."""
    shutil.copytree(heads, tmp_path / "data" / "demo")
    # as coarse as it goes: what is killed is the work, not what it finds
    coarse = {"registration": {"spacing_mm": 4.0}, "brain": {"spacing_mm": 3.0}}
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    change_settings(tmp_path / "params.yaml", {"preprocessing": coarse})
    with contextlib.chdir(tmp_path):
        # two subjects are too few for the stage
        report = check_cohort(Path("data/demo"))
        write_checked_cohort(admit(report, exclude_faulty=False))
    return tmp_path


def start(project: Path, *, read_only_data: bool = False) -> subprocess.Popen[str]:
    """Start the stage."""
    command = [sys.executable, str(PROJECT / "src/stages/preprocess.py")]
    if read_only_data:
        mount = 'mount --bind data data && mount -o remount,ro,bind data && exec "$@"'
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def workers_of(stage: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(stage.pid).children()
    servers = [child for child in children if "forkserver" in " ".join(child.cmdline())]
    return [worker for server in servers for worker in server.children()]


def is_complete(project: Path) -> bool:
    summary = read_json(project / "work/preprocessed/summary.json")
    return sorted(summary["subjects"]) == list(SUBJECTS) and all(
        np.isfinite(saved_volumes(project / "work/preprocessed" / subject)).all() for subject in SUBJECTS
    )


def registrations(project: Path) -> list[Path]:
    return list((project / "work/store/subjects").glob("??/[0-9a-f]*/registration.json"))


def wait_for(stages: Sequence[subprocess.Popen[str]], condition: Callable[[], object]) -> None:
    """Until it is so, while all the stages run."""
    while not condition():
        assert all(stage.poll() is None for stage in stages), [stage.communicate() for stage in stages]
        time.sleep(0.02)


def test_a_killed_run_goes_on_where_it_was_and_two_at_once_share_the_work_though_a_worker_is_killed(
    project: Path,
) -> None:
    raw = {path: path.stat().st_mtime_ns for path in (project / "data").rglob("*")}
    killed = start(project)
    wait_for([killed], lambda: registrations(project))
    registration = registrations(project)[0]
    made = registration.stat().st_mtime_ns
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (project / "work/preprocessed").exists()

    probe = start(project, read_only_data=True) if shutil.which("unshare") else None
    both = [probe or start(project), other := start(project)]
    # every worker is then in mid-subject: it extracts a brain, or waits until the other run has
    wait_for([other], lambda: len(registrations(project)) == 2 and workers_of(other))
    workers_of(other)[0].kill()
    told = [stage.communicate(timeout=300)[1] for stage in both]
    if probe is not None and ("unshare:" in told[0] or "mount:" in told[0]):
        pytest.skip(f"no file system can be made read-only here: {told[0].strip()}")
    assert [stage.returncode for stage in both] == [0, 0], told
    assert "a task is tried once more: its worker process ended without a word" in told[1]
    assert is_complete(project) and registration.stat().st_mtime_ns == made
    entries = list((project / "work/store/subjects").glob("??/[0-9a-f]*"))
    assert len(entries) == 6  # registration, brain and cube of two subjects
    assert {path: path.stat().st_mtime_ns for path in (project / "data").rglob("*")} == raw


PREPROCESS = """
import json, resource, sys
from pathlib import Path
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import read_params
from ricenet.preprocessing.preprocess_subject import preprocess
from ricenet.preprocessing.subject_files import write_subject

raw = RawSubject(Path(sys.argv[1]), "sub-001")
write_subject(preprocess(raw, read_params(Path(sys.argv[2])).preprocessing, 7), Path(sys.argv[3]), raw, 60.0)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2))
"""


def resampled_to(scan: Path, grid_shape: tuple[int, int, int], spacing_mm: tuple[float, ...]) -> None:
    """Replace a scan by itself on another grid around its middle, whole numbers as a scanner writes them."""
    volume = load_nifti(scan)
    affine = np.diag([*spacing_mm, 1.0])
    middle = volume.grid.world_mm((np.array(volume.grid.shape) - 1) / 2)
    affine[:3, 3] = middle - np.array(spacing_mm) * (np.array(grid_shape) - 1) / 2
    save_whole(resample(volume, Grid(grid_shape, affine)).data, affine, scan)


def made_finer(scan: Path, factor: int) -> None:
    """Replace a scan by itself in smaller voxels, which is quicker than to interpolate."""
    volume, affine = load_nifti(scan), np.diag([*[1 / factor] * 3, 1.0])
    affine[:3, 3] = (1 / factor - 1) / 2
    values = np.rint(volume.data).astype(np.int16)
    for axis in range(3):
        values = values.repeat(factor, axis)
    save_whole(values, volume.grid.affine @ affine, scan)


def save_whole(values: NDArray[Any], affine: Affine, scan: Path) -> None:
    image = nib.nifti1.Nifti1Image(np.rint(values).astype(np.int16), affine)
    scan.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1))


def test_a_very_fine_scan_and_one_of_thick_slices_stay_within_memory_and_come_out_right(
    tmp_path: Path, phantom_head: Path
) -> None:
    head = Path(shutil.copytree(phantom_head, tmp_path / "raw"))
    raw = RawSubject(head, "sub-001")
    made_finer(raw.scan("post_op"), 8)  # 0.4 mm, more than 100 million voxels
    resampled_to(raw.scan("event"), (448, 512, 30), (0.5, 0.5, 6.5))
    out, params = tmp_path / "out", tmp_path / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", params)
    change_settings(params, {"preprocessing": {"brain": {"spacing_mm": 3.0}}})
    done = subprocess.run(
        [sys.executable, "-c", PREPROCESS, str(head), str(params), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) < 4.0  # GiB

    truth = head / "ground_truth/sub-001"
    found = Measurements.of_subject(out).world_from_reference("event")
    true = np.array(read_json(truth / "truth.json")["event_world_from_post_op_world"])
    brain = load_nifti(truth / "brain.nii.gz")
    points = brain.grid.world_mm(np.argwhere(brain.data > 0).astype(np.float64))
    error = points @ (found - true)[:3, :3].T + (found - true)[:3, 3]
    assert np.linalg.norm(error, axis=1).mean() < 1.0
    mask = resample(load_nifti(out / brain_mask_file("sub-001")), brain.grid).data > 0.5
    inside = brain.data > 0.5
    assert dice(mask, inside) > 0.95
