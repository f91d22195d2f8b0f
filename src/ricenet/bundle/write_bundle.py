"""A registered ensemble as the folder of a MONAI bundle.

Source: MONAI's bundle specification: configs, models and docs under a folder named for the model.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ricenet.bundle.inference_config import inference_config, needs_ricenet
from ricenet.bundle.metadata import Exported, metadata
from ricenet.bundle.read_me import data_license, readme
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.runtime.files import atomic_folder, file_digest, write_text
from ricenet.training.ensemble_record import require_rice_task, weights_name


def write_bundle(folder: Path, files: Path, exported: Exported) -> None:
    """Write the bundle at once and whole; the same ensemble gives the same bytes.

    folder: new, or empty. files: the ensemble's, as `Ensemble.load` takes them.
    Raises ResultError: a folder in use. RegistryError: an ensemble that MONAI alone cannot run, or weights
    that are not the record's.
    """
    _require_unused(folder)
    record = exported.record
    require_rice_task(record, "a MONAI bundle gives")
    if reasons := needs_ricenet(record):
        raise RegistryError(
            f"{exported.model} version {exported.version} is no MONAI bundle, since it needs ricenet: "
            f"{'; '.join(reasons)}. Use `ricenet predict`, or export a set of another recipe, with resnet18, "
            "resnet10 or densenet121, batch norm and no fusion"
        )
    recalibration = exported.threshold.recalibration if exported.threshold else None
    with atomic_folder(folder) as made:
        for name in ("configs", "models", "docs"):
            (made / name).mkdir()
        copies = [made / "models" / weights_name(fold) for fold in range(record.folds)]
        for copy in copies:
            shutil.copyfile(files / copy.name, copy)
        if record.digest_with([file_digest(copy) for copy in copies]) != record.digest:
            raise RegistryError(
                f"{exported.model} version {exported.version}: its weights are not those that were "
                "registered. Train and register again: `dvc repro`"
            )
        _write_config(made / "configs" / "inference.json", inference_config(record, recalibration))
        _write_config(made / "configs" / "metadata.json", metadata(exported))
        write_text(made / "docs" / "README.md", readme(exported))
        write_text(made / "docs" / "data_license.txt", data_license(exported))
        write_text(made / "LICENSE", _license())


def _require_unused(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ResultError(f"{folder} is not an empty folder. Name a new one for the bundle")


def _write_config(path: Path, content: dict[str, Any]) -> None:
    # in the order of reading, unlike `write_json`
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _license() -> str:
    """The licence of ricenet, of whose work the configuration is a part."""
    text = distribution("ricenet").read_text("licenses/LICENSE")
    if text is None:
        raise ResultError("the licence of ricenet is not among its installed files. Run `make setup`")
    return text
