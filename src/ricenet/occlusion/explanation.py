"""Explaining predictions of held-out subjects, and writing what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ricenet.dataset import load_subject
from ricenet.errors import ResultError
from ricenet.evaluation.anatomy_figure import read_anatomy
from ricenet.evaluation.drawing import save_figure
from ricenet.evaluation.predictions import predicted_label
from ricenet.files import write_json
from ricenet.occlusion.figure import Explained, occlusion_figure
from ricenet.occlusion.sensitivity import OcclusionMap, occlusion_map
from ricenet.occlusion.subjects import held_out_fold
from ricenet.splits import Splits
from ricenet.volume import Volume, save_nifti

if TYPE_CHECKING:
    import torch

    from ricenet.ensemble import Ensemble


def check_ensemble(ensemble: Ensemble, splits: Splits) -> None:
    """Make sure that an ensemble's folds are those of the splits, so that held out means held out.

    Raises ResultError: it was trained with other splits.
    """
    trained_with = str(ensemble.record["splits_digest"])
    if trained_with != splits.digest:
        raise ResultError(
            f"ensemble {ensemble.modality_set}: trained with splits {trained_with[:12]}, but splits.json is "
            f"{splits.digest[:12]}; it may have been trained on a subject to explain. Run `dvc repro train`"
        )


def explain_subject(
    ensemble: Ensemble,
    splits: Splits,
    subject: str,
    preprocessed: Path,
    cohort: Path,
    folder: Path,
    *,
    cube_voxels: int,
    stride_voxels: int,
) -> Explained:
    """Write occlusion.nii.gz, figure.png and summary.json of one subject outside the test set.

    cohort: the raw cohort, for masks that only a synthetic one knows. cube_voxels and
    stride_voxels: of the occlusion.
    Raises ResultError or ScanError: preprocessed volumes are missing or damaged.
    """
    fold = held_out_fold(splits, subject)
    anatomy = read_anatomy(preprocessed, cohort, subject, splits.labels[subject])
    volumes = load_subject(preprocessed, subject, ensemble.modality_set, anatomy.grid.shape[0])
    found = occlusion_map(_on_its_device(ensemble.networks[fold]), volumes, cube_voxels, stride_voxels)
    explained = Explained(
        modality_set=ensemble.modality_set,
        participant_id=subject,
        label=splits.labels[subject],
        predicted=predicted_label(found.baseline_p_rice),
        fold=fold,
        p_rice=found.baseline_p_rice,
    )
    save_nifti(Volume(found.change, anatomy.grid), folder / "occlusion.nii.gz")
    save_figure(occlusion_figure(explained, found.change, anatomy), folder / "figure.png")
    write_json(folder / "summary.json", _summary(explained, found))
    return explained


def _summary(explained: Explained, found: OcclusionMap) -> dict[str, Any]:
    return {
        "modality_set": explained.modality_set,
        "participant_id": explained.participant_id,
        "label": explained.label,
        "predicted": explained.predicted,
        "fold": explained.fold,
        "p_rice": explained.p_rice,
        "baseline": found.baseline_p_rice,
        "min": float(found.change.min()),
        "max": float(found.change.max()),
    }


def _on_its_device(network: torch.nn.Module) -> Any:
    from ricenet.network import predict_logits

    def logits(inputs: torch.Tensor) -> torch.Tensor:
        return predict_logits(network, inputs, batch_size=len(inputs))

    return logits
