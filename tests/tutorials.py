"""The tutorials of docs/, followed as a reader follows them, at a smaller scale."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path

from cloned_project import PROJECT, Clone
from ruamel.yaml import YAML
from tracking_servers import free_port, wait_until

BLOCK = re.compile(r"^```(sh|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

SCALE: dict[str, object] = {
    "phantom": {"spacing_mm": 4.0, "test_fraction": 0.34, "rice_share": 0.5},
    "preprocessing": {
        "cube_voxels": 24,
        "spacing_mm": 8.0,
        "crop": {"voxels": 12, "spacing_mm": 6.0},
        "registration": {"spacing_mm": 8.0},
        "brain": {"spacing_mm": 3.0},
    },
    "split": {"folds": 2},
    "recipes": {"small_cohort": {"network": {"widths": [2, 2, 2]}, "training": {"steps": 2}}},
    "training": {"batch_size": 2},
    "explain": {"subjects_per_label": 1, "cube_voxels": 12, "stride_voxels": 12, "each_modality": False},
    "evidence": {"resamples": 200},
    "robustness": {"dose_shift_mm": [3], "dose_rotation_degrees": [], "noise_sd": [], "bias_field": []},
    "execution": {"backend": "serial", "workers": 1},
}
"""Settings that the tests make smaller; of the commands, only the numbers in SIZES and the ports are."""
SIZES = {"--subjects 24": "--subjects 6", "trials: 10": "trials: 2"}
PORTS = ("5000", "8741")
TERMINAL = "# a terminal of its own\n"
READY = "(Ctrl-C stops it)"


class Tutorial:
    """A page's blocks: `sh` is run, `yaml` is written into params.yaml; the others show what is seen.

    A block that begins with TERMINAL goes on until the page ends. Ports are others, since those may be taken.
    """

    def __init__(self, page: str, clone: Clone) -> None:
        self._clone, self._folder = clone, clone.folder.parent / page.removesuffix(".md")
        self._folder.mkdir()
        text = (PROJECT / "docs" / page).read_text()
        for size, smaller in (SIZES | {port: str(free_port()) for port in PORTS}).items():
            text = text.replace(size, smaller)
        self.blocks = [(str(language), str(content)) for language, content in BLOCK.findall(text)]
        self.said: list[str] = []

    def follow(self) -> Tutorial:
        """All of it, in the page's order; the first command that fails is the end."""
        with ExitStack() as terminals:
            for language, content in self.blocks:
                if language == "yaml":
                    self._clone.set(YAML(typ="safe").load(StringIO(content)))
                elif content.startswith(TERMINAL):
                    terminals.enter_context(self._terminal(content, len(self.said)))
                else:
                    # what one block exports, the next ones find
                    kept = self._folder / "exported.sh"
                    script = f"[ ! -f {kept} ] || . {kept}\nset -euo pipefail\n{content}\nexport -p > {kept}"
                    done = self._clone.run("bash", "-c", script)
                    self.said.append(done.stdout + done.stderr)
        return self

    @contextmanager
    def _terminal(self, content: str, number: int) -> Iterator[None]:
        log = self._folder / f"terminal-{number}.log"
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-euc", content.rstrip().replace("\nricenet", "\nexec ricenet")],
                cwd=self._clone.folder,
                env=environment,
                stdout=stream,
                stderr=stream,
            )
        try:
            wait_until(lambda: process.poll() is not None or READY in log.read_text(), 200)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(60)
