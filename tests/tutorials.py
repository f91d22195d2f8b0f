"""The tutorials of docs/, followed as a reader follows them, at a smaller scale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO

from cloned_project import PROJECT, Clone
from ruamel.yaml import YAML

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
"""What the tests make smaller; no command of a tutorial is another than a reader's, but for numbers in SIZES."""
SIZES = {"--subjects 24": "--subjects 8"}


@dataclass
class Tutorial:
    """The blocks of a page: `sh` is run, `yaml` is written into params.yaml; others show what is seen."""

    page: str
    clone: Clone
    sizes: Mapping[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def follow(self) -> None:
        """All of it, in the page's order; the first command that fails is the end."""
        text = (PROJECT / "docs" / self.page).read_text()
        for size, smaller in self.sizes.items():
            assert size in text
            text = text.replace(size, smaller)
        for language, content in BLOCK.findall(text):
            if language == "yaml":
                self.clone.set(YAML(typ="safe").load(StringIO(content)))
            else:
                done = self.clone.run("bash", "-euo", "pipefail", "-c", content)
                self.said.append(done.stdout + done.stderr)
