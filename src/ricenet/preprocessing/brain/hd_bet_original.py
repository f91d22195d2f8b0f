"""The original hd-bet 2.x, where a user has installed it: the sole wrapper around its command.

Its network is nnU-Net's, with one set of weights that it fetches from Zenodo when it first runs. It is no
dependency of ours, since it needs packages that do not go together with ours; it is found by its command.
Source: https://github.com/MIC-DKFZ/HD-BET; Isensee et al. 2019, and Nature Methods 18 (2021) 203-211.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ricenet.preprocessing.brain.device import choose_device
from ricenet.runtime.errors import RicenetError, ScanError
from ricenet.volume import Volume, load_nifti, save_nifti

COMMAND = "hd-bet"
UNKNOWN = "of unknown version"
_SHOWN_LINES = 15


def extract_brain(t1: Volume, subject: str, scan: str, *, mirroring: bool, device: str) -> Volume:
    """The brain mask (X, Y, Z) of a T1-weighted head on its own grid.

    mirroring: hd-bet's test-time augmentation, 8x the time. device: as `device_for` takes it.
    Raises ScanError: hd-bet failed, or wrote no mask of this image. RicenetError: it is not installed.
    """
    executable = require_installed()
    with tempfile.TemporaryDirectory(prefix="hd-bet-") as name:
        image, output = Path(name, "head.nii.gz"), Path(name, "brain.nii.gz")
        save_nifti(t1, image)
        done = subprocess.run(
            command(executable, image, output, mirroring, device_for(device)),
            capture_output=True,
            text=True,
            check=False,
        )
        # the name that hd-bet gives a mask which it keeps
        mask_file = output.with_name("brain_bet.nii.gz")
        if done.returncode != 0 or not mask_file.is_file():
            without = "" if mask_file.is_file() else " and without a mask"
            raise ScanError(
                subject,
                scan,
                f"hd-bet {installed_version()} ended with status {done.returncode}{without}:\n"
                + _end_of(done.stderr, done.stdout),
                "Run `hd-bet` by hand on this image; it needs version 2, its weights, and memory for them.",
            )
        found = load_nifti(mask_file)
    if found.data.shape != t1.grid.shape:
        raise ScanError(
            subject,
            scan,
            f"hd-bet's mask has the shape {found.data.shape}, the image {t1.grid.shape}",
            "Use hd-bet 2.x, whose masks lie on the image's grid.",
        )
    return Volume(found.data > 0.5, t1.grid)


def command(executable: str, image: Path, output: Path, mirroring: bool, device: str) -> list[str]:
    """How hd-bet 2.x is asked for the mask alone."""
    augmentation = [] if mirroring else ["--disable_tta"]
    asked = ["-device", device, "--save_bet_mask", "--no_bet_image", *augmentation]
    return [executable, "-i", str(image), "-o", str(output), *asked]


def require_installed() -> str:
    """The path of the command.

    Raises RicenetError: there is none.
    """
    executable = shutil.which(COMMAND)
    if executable is None:
        raise RicenetError(
            "preprocessing.brain.engine is original, but there is no command `hd-bet` on PATH: install it "
            "into an environment of its own (python -m venv hd-bet && hd-bet/bin/pip install 'hd-bet>=2'), "
            "put hd-bet/bin/hd-bet on PATH, and run it once while online, so that it fetches its weights; "
            "or set the engine to minimal"
        )
    return executable


def installed_version() -> str:
    """The version of the package that the command belongs to, asked of the Python that runs it.

    Raises RicenetError: there is no such command.
    """
    with Path(require_installed()).open("rb") as stream:
        # pip writes `#!/path/python`, or for long paths a line of sh that names it
        start = stream.read(1024).decode("utf-8", errors="replace")
    interpreter = re.search(r"(/[^\s\"']*/python[0-9.]*)", start)
    if interpreter is None:
        return UNKNOWN
    question = "from importlib.metadata import version; print(version('hd-bet'))"
    answer = subprocess.run(
        [interpreter.group(1), "-c", question], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or UNKNOWN


def device_for(device: str) -> str:
    """ "cpu" or "cuda" for hd-bet: as asked for, its torch not being ours; "auto": what ours would take."""
    return choose_device(device) if device == "auto" else device


def _end_of(*streams: str) -> str:
    lines = [line for stream in streams for line in stream.strip().splitlines()[-_SHOWN_LINES:]]
    return "\n".join(lines) or "(it wrote nothing)"
