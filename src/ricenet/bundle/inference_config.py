"""configs/inference.json of a bundle: an ensemble's answers, said in components of MONAI and torch alone.

Source: MONAI's bundle specification and config syntax (1.6); the names are those of its inference properties.
Deviation: weights are safetensors, a file a fold, where the specification has a pickled models/model.pt.
"""

from __future__ import annotations

from typing import Any

from ricenet.config.inputs import InputGrid
from ricenet.config.network_params import DenseNetParams, NetworkParams, ResNetParams
from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.preprocessing.derivative_files import image_file
from ricenet.training.ensemble_record import EnsembleRecord, weights_name
from ricenet.training.networks import STEM_VOXELS
from ricenet.vocabulary import LABELS, VolumeSpec

SUBJECT_FOLDERS = "sub-*"
"""Of the folder that is predicted: a subject each."""

TABLE = "predictions.csv"

SPACING_TOLERANCE_MM = 1e-3
"""NIfTI holds spacings as float32."""


def needs_ricenet(record: EnsembleRecord) -> list[str]:
    """What of an ensemble MONAI has no component for, in words; nothing where MONAI is enough."""
    network = record.network
    found = []
    if not isinstance(network, ResNetParams | DenseNetParams):
        found.append(f"its network {network.name} is ricenet's own")
    if network.may_lack_volumes:
        found.append("what says which of its volumes are missing is ricenet's own (channel_dropout)")
    if network.norm == "group":
        found.append("its group norm is put into the network by ricenet")
    if record.fused:
        found.append("a regression of ricenet answers beside each network (fusion)")
    return found


def volume_file(spec: VolumeSpec, grid: InputGrid) -> str:
    """The file of a volume in a subject's folder, as preprocessing writes it, with {subject} for its name."""
    return image_file("{subject}", spec, grid.suffix)


def table_columns(folds: int, recalibrated: bool) -> list[str]:
    """Columns of the predictions after the subject's. recalibrated: whether the last is there."""
    known = ["p_rice", "votes_rice", "majority_rice", *(["p_rice_calibrated"] if recalibrated else [])]
    return [*(f"fold_{k}" for k in range(folds)), *known]


def inference_config(record: EnsembleRecord, recalibration: Recalibration | None) -> dict[str, Any]:
    """The config of an ensemble that needs MONAI alone. recalibration: of each fold's p_rice, if it is known.

    The network takes `image` (N, C, X, Y, Z) and returns `pred` (N, 2, folds), logits in the order of LABELS.
    """
    return {
        "imports": ["$import glob", "$import os", "$from safetensors.torch import load_file"],
        "bundle_root": ".",
        "dataset_dir": "$os.path.join(@bundle_root, 'input')",
        "output_dir": "$os.path.join(@bundle_root, 'eval')",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        **_dataset(record),
        **_network(record),
        **_answer(recalibration),
        **_evaluator(table_columns(record.folds, recalibration is not None)),
    }


def _dataset(record: EnsembleRecord) -> dict[str, Any]:
    names = [spec.name for spec in record.members]
    folder = "'no folder sub-* in dataset_dir'"
    return {
        "volumes": {spec.name: volume_file(spec, record.grid) for spec in record.members},
        "subjects": "$sorted(os.path.basename(os.path.dirname(folder)) for folder in "
        f"glob.glob(os.path.join(@dataset_dir, '{SUBJECT_FOLDERS}', '')))",
        "preprocessing": {"_target_": "Compose", "transforms": _transforms(record, names)},
        "dataset": {
            "_target_": "Dataset",
            "data": f"$(torch._assert(len(@subjects) > 0, {folder}), [{{"
            "'subject': subject, "
            "**{name: os.path.join(@dataset_dir, subject, file.format(subject=subject)) "
            "for name, file in @volumes.items()}"
            "} for subject in @subjects])[1]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    }


def _transforms(record: EnsembleRecord, names: list[str]) -> list[dict[str, Any]]:
    """A subject's files to the network's input, in the arithmetic of ricenet: float32, rounded to float16."""
    dose, grid = record.volumes.dose, record.grid
    unit_gy = record.preprocessing.get("dose_unit_gy")
    transforms: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": names, "reader": "NibabelReader", "ensure_channel_first": True}
    ]
    if dose in record.members:
        # of MRIs nothing is left to do: MONAI z-scores by what is not 0, ricenet by the brain's mask
        unit = {"a_min": 0.0, "a_max": unit_gy, "b_min": 0.0, "b_max": 1.0}
        transforms.append({"_target_": "ScaleIntensityRanged", "keys": dose.name, **unit})
    transforms += [
        {"_target_": "ConcatItemsd", "keys": names, "name": "image"},
        {"_target_": "Lambdad", "keys": "image", "func": _same_grid(len(names), grid)},
    ]
    if grid.box is not None:
        ends = [first + length for first, length in zip(grid.box.first, grid.box.shape, strict=True)]
        box = {"roi_start": list(grid.box.first), "roi_end": ends}
        transforms.append({"_target_": "SpatialCropd", "keys": "image", **box})
    return [
        *transforms,
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float16"},
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
        {"_target_": "SelectItemsd", "keys": ["image", "subject"]},
    ]


def _same_grid(channels: int, grid: InputGrid) -> str:
    """An expression that stops at other grids than the networks', on which they would answer all the same."""
    shape, spacing = (channels, *(grid.voxels,) * 3), repr(grid.spacing_mm)
    fits = (
        f"tuple(image.shape) == {shape} and "
        f"bool((image.pixdim - {spacing}).abs().max() < {SPACING_TOLERANCE_MM})"
    )
    expected = f"'volumes on another grid; expected {grid.whole}'"
    return f"$lambda image: (torch._assert({fits}, {expected}), image)[1]"


def _network(record: EnsembleRecord) -> dict[str, Any]:
    files = [weights_name(fold) for fold in range(record.folds)]
    return {
        "fold": monai_network(record.network, len(record.members)),
        "folds": f"$[@fold() for _ in range({record.folds})]",
        "weights": f"$[load_file(os.path.join(@bundle_root, 'models', file)) for file in {files}]",
        "loaded": "$[fold.load_state_dict(weights) for fold, weights in zip(@folds, @weights)]",
        "ensemble": "$type('Ensemble', (torch.nn.ModuleList,), "
        "{'forward': lambda self, image: torch.stack([fold(image) for fold in self], dim=2)})",
        # loading is part of the definition, so that nobody meets networks without their weights
        "network_def": "$(@loaded, @ensemble(@folds).eval())[1]",
        "network": "$@network_def.to(@device)",
        "inferer": {"_target_": "SimpleInferer"},
    }


def monai_network(network: NetworkParams, channels: int) -> dict[str, Any]:
    """A fold's network without weights, as a component that is called for each; see `build_network`."""
    if isinstance(network, DenseNetParams):
        settings: dict[str, Any] = {"in_channels": channels, "out_channels": len(LABELS)}
        target = "monai.networks.nets.DenseNet121"
    else:
        assert isinstance(network, ResNetParams)
        settings = {
            "n_input_channels": channels,
            "conv1_t_size": STEM_VOXELS,
            "conv1_t_stride": network.stem_stride,
            "widen_factor": network.widen_factor,
            "num_classes": len(LABELS),
            "norm": "batch",
        }
        target = f"monai.networks.nets.{network.name}"
    return {"_target_": target, "_mode_": "callable", "spatial_dims": 3, **settings}


def _answer(recalibration: Recalibration | None) -> dict[str, Any]:
    """From a subject's logits (2, folds) to its row of the table, in float64 as ricenet votes."""
    parts = "p, p.mean(0, True), @votes(p)[None], @majority(p)[None]"
    known = {}
    if recalibration is not None:
        parts += ", @recalibrated(p).mean(0, True)"
        slope, intercept = recalibration.slope, recalibration.intercept
        logit = "torch.logit(p, torch.finfo(torch.float64).eps)"
        known["recalibrated"] = f"$lambda p: torch.sigmoid({slope!r} * {logit} + ({intercept!r}))"
    return {
        "votes": "$lambda p: (p >= 0.5).sum()",
        # the mean decides a tie
        "majority": "$lambda p: 2 * @votes(p) + (p.mean() >= 0.5) > len(p)",
        **known,
        "row": f"$lambda p: torch.cat([{parts}])",
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                # MONAI's own Activationsd computes in float32, whatever it is given
                {"_target_": "Lambdad", "keys": "pred", "func": "$lambda p: torch.softmax(p.double(), 0)"},
                {"_target_": "CopyItemsd", "keys": "pred", "names": "answer"},
                {"_target_": "Lambdad", "keys": "answer", "func": f"$lambda p: @row(p[{_RICE}])"},
            ],
        },
    }


_RICE = LABELS.index("rice")


def _evaluator(columns: list[str]) -> dict[str, Any]:
    return {
        "table": {"_target_": "CSVSaver", "output_dir": "@output_dir", "filename": TABLE},
        "handlers": [
            {
                "_target_": "ClassificationSaver",
                "saver": "@table",
                "batch_transform": "$lambda batch: [{'filename_or_obj': item['subject']} for item in batch]",
                "output_transform": "$monai.handlers.from_engine('answer')",
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "initialize": [
            # cuDNN would round to TF32's 10 bits
            "$setattr(torch.backends.cudnn, 'allow_tf32', False)",
            # the first row of the table
            f"$@table.get_cache().update({{'subject': np.array({columns})}})",
        ],
        "run": ["$@evaluator.run()"],
    }
