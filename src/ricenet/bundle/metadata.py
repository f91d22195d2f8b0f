"""configs/metadata.json of a bundle: what goes in, what comes out, and what it is for.

Source: MONAI's metadata schema of 2024-07-25, of which `verify_metadata` fetches the text from its address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import ricenet
from ricenet.cohort.dose_limits import MOST_COURSE_GY
from ricenet.evaluation.paper import CITATION
from ricenet.inference.predict_subject import NOTICE
from ricenet.inference.three_way import DecisionThreshold
from ricenet.training.ensemble_record import EnsembleRecord
from ricenet.vocabulary import LABELS, VolumeSpec

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)

RUN_BY = {"fire": "0.7.1", "pytorch-ignite": "0.5.5"}
"""What runs a bundle beside MONAI, which ricenet itself does not need: the versions that were tried."""


@dataclass(frozen=True)
class Exported:
    """A registered ensemble with what is known of it.

    model, version: in the registry. threshold: of the three-way vote, where it is known. card: what the
    evidence says, as sections of Markdown; "" without evidence. scores: of the cross-validation, by name.
    synthetic: whether it was trained on phantoms; None: not known.
    """

    model: str
    version: str
    record: EnsembleRecord
    threshold: DecisionThreshold | None = None
    card: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    synthetic: bool | None = None

    @property
    def bundle_version(self) -> str:
        """The registry's number as a semantic version, by which tools of MONAI sort."""
        return f"{self.version}.0.0"

    @property
    def trained_on(self) -> str:
        """In words."""
        if self.synthetic is None:
            return "patients or phantoms: what it was trained on was not at hand when the bundle was written"
        if self.synthetic:
            return "synthetic phantoms: it says nothing about patients"
        return "a cohort of patients, of whom the bundle holds nothing but the weights"


def metadata(exported: Exported) -> dict[str, Any]:
    """The metadata of a bundle, by the schema's names."""
    record = exported.record
    title = record.volumes.set_title(record.modality_set, ", ")
    written = f"{exported.model} version {exported.version}, ensemble {record.digest}"
    return {
        "schema": SCHEMA,
        "version": exported.bundle_version,
        "changelog": {exported.bundle_version: f"{written}; written by ricenet {ricenet.__version__}"},
        "monai_version": version("monai"),
        # without the build, such as +cpu
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "nibabel": version("nibabel"),
            "safetensors": version("safetensors"),
            **RUN_BY,
        },
        "supported_apps": {},
        "name": f"RICE-NET, {title}",
        "task": "Tumour recurrence or radiation-induced contrast enhancement of an irradiated glioblastoma",
        "description": (
            f"{record.folds} networks of a cross-validation ({record.network.described(version('monai'))}) "
            f"from {title}; the mean of their probabilities and their majority vote. Trained on "
            f"{exported.trained_on}."
        ),
        "authors": "The RICE-NET developers",
        "copyright": (
            "Configuration: the RICE-NET developers, Apache-2.0. Weights: whoever trained them "
            "(docs/data_license.txt)"
        ),
        "data_source": f"Not part of the bundle. Trained on {exported.trained_on}",
        "data_type": "nibabel",
        "image_classes": "; ".join(_channels(record).values()),
        "pred_classes": f"{' (0), '.join(LABELS)} (1)",
        "eval_metrics": dict(exported.scores),
        "intended_use": NOTICE,
        "references": [CITATION],
        "network_data_format": _network_data_format(record),
    }


def _network_data_format(record: EnsembleRecord) -> dict[str, Any]:
    of_folds = {"num_channels": len(LABELS), "spatial_shape": [record.folds], "is_patch_data": False}
    logits, p = (
        {str(place): f"{what} of {label}, by fold" for place, label in enumerate(LABELS)}
        for what in ("logit", "probability")
    )
    of_folds |= {"type": "probabilities", "format": "classes", "modality": "n/a"}
    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "+".join(dict.fromkeys(_MODALITY[spec.kind] for spec in record.members)),
                "num_channels": len(record.members),
                "spatial_shape": list(record.grid.shape),
                "dtype": "float32",
                "value_range": _value_range(record),
                "is_patch_data": record.grid.shape != (record.preprocessing["cube_voxels"],) * 3,
                "channel_def": {str(place): text for place, text in enumerate(_channels(record).values())},
            }
        },
        "outputs": {"pred": {**of_folds, "dtype": "float32", "value_range": [], "channel_def": logits}},
        "post_processed_outputs": {
            "pred": {**of_folds, "dtype": "float64", "value_range": [0, 1], "channel_def": p}
        },
    }


_MODALITY = {"mri": "MR", "dose": "RTDOSE"}
"""As DICOM calls it."""


def _value_range(record: EnsembleRecord) -> list[float]:
    """Least and largest value; empty, as the schema has it, where an MRI's has no bounds."""
    if any(spec.kind == "mri" for spec in record.members):
        return []
    return [0.0, MOST_COURSE_GY / record.preprocessing["dose_unit_gy"]]


def _channels(record: EnsembleRecord) -> dict[str, str]:
    """By volume, what its channel holds."""
    return {spec.name: f"{spec.title}: {_unit(spec, record)}" for spec in record.members}


def _unit(spec: VolumeSpec, record: EnsembleRecord) -> str:
    if spec.kind == "dose":
        preprocessing = record.preprocessing
        ratio = preprocessing.get("eqd2_alpha_beta_gy")
        kind = "" if ratio is None else f" as EQD2 (alpha/beta {ratio:g} Gy)"
        return f"the whole course's dose{kind} in units of {preprocessing['dose_unit_gy']:g} Gy"
    if spec.scale is not None:
        return f"in units of {spec.scale:g}, 0 outside the brain"
    return "distance from the brain's mean in SDs of the brain, 0 outside the brain"


def channel_of_file(spec: VolumeSpec, record: EnsembleRecord) -> str:
    """What a volume's file holds: the dose in Gy, whatever unit the network takes."""
    if spec.kind != "dose":
        return _unit(spec, record)
    ratio = record.preprocessing.get("eqd2_alpha_beta_gy")
    return "the whole course's dose in Gy" + ("" if ratio is None else f", as EQD2 (alpha/beta {ratio:g} Gy)")
