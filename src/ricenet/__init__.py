"""RICE-NET: tumour recurrence or radiation-induced contrast enhancement, from MRI and a dose map.

What a notebook may import from here is stated in docs/api.md; a name loads what it needs on first use.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ricenet.cohort.checks import check_cohort
    from ricenet.cohort.layout import RawSubject
    from ricenet.config.params import read_params
    from ricenet.evaluation.intervals import Estimate
    from ricenet.evaluation.metrics import best_set, macro_f1, macro_f1_estimate
    from ricenet.phantom.write_cohort import write_phantom
    from ricenet.preprocessing.network_input import read_volumes
    from ricenet.preprocessing.preprocess_subject import preprocess
    from ricenet.runtime.errors import RicenetError
    from ricenet.training.ensemble import Ensemble
    from ricenet.vocabulary import LABELS, PAPER_VOLUMES, VariableSpec, Volumes, VolumeSpec
    from ricenet.volume import Grid, Volume, load_nifti, resample, save_nifti

__version__ = "0.1.0"

# MONAI imports mlflow, which would otherwise prepare to report its use to its makers
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_PLACES = {
    "ricenet.vocabulary": ("LABELS", "PAPER_VOLUMES", "VariableSpec", "VolumeSpec", "Volumes"),
    "ricenet.volume": ("Grid", "Volume", "load_nifti", "resample", "save_nifti"),
    "ricenet.runtime.errors": ("RicenetError",),
    "ricenet.config.params": ("read_params",),
    "ricenet.cohort.layout": ("RawSubject",),
    "ricenet.cohort.checks": ("check_cohort",),
    "ricenet.phantom.write_cohort": ("write_phantom",),
    "ricenet.preprocessing.preprocess_subject": ("preprocess",),
    "ricenet.preprocessing.network_input": ("read_volumes",),
    "ricenet.training.ensemble": ("Ensemble",),
    "ricenet.evaluation.intervals": ("Estimate",),
    "ricenet.evaluation.metrics": ("best_set", "macro_f1", "macro_f1_estimate"),
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "LABELS",
    "PAPER_VOLUMES",
    "Ensemble",
    "Estimate",
    "Grid",
    "RawSubject",
    "RicenetError",
    "VariableSpec",
    "Volume",
    "VolumeSpec",
    "Volumes",
    "best_set",
    "check_cohort",
    "load_nifti",
    "macro_f1",
    "macro_f1_estimate",
    "preprocess",
    "read_params",
    "read_volumes",
    "resample",
    "save_nifti",
    "write_phantom",
]


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is first asked for, so that `import ricenet` costs nothing."""
    if name not in _PLACE_OF:
        raise AttributeError(f"module 'ricenet' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
