"""The texts of a bundle for people: docs/README.md and docs/data_license.txt."""

from __future__ import annotations

from collections.abc import Sequence

import ricenet
from ricenet.bundle.inference_config import SUBJECT_FOLDERS, TABLE, table_columns, volume_file
from ricenet.bundle.metadata import RUN_BY, Exported, channel_of_file
from ricenet.config.inputs import CROPS
from ricenet.evaluation.paper import CITATION
from ricenet.inference.predict_subject import NOTICE
from ricenet.vocabulary import LABELS

_COLUMNS = {
    "subject": "the subject's folder",
    "fold_0, ...": "each fold's probability of RICE",
    "p_rice": "their mean",
    "votes_rice": "how many folds say RICE (0.5 or more)",
    "majority_rice": "1: the majority says RICE, 0: recurrence; the mean decides a tie",
    "p_rice_calibrated": "the mean of the folds' recalibrated probabilities: the one to read",
}


def readme(exported: Exported) -> str:
    """What the bundle is, how it is run, what it takes and answers, and what is known of it; Markdown."""
    record = exported.record
    title = record.volumes.set_title(record.modality_set, ", ")
    sections = (
        ("Run it", _RUN),
        ("Input", _input(exported)),
        ("Output", _output(exported)),
        ("Files", _FILES),
        ("References and licence", _REFERENCES),
    )
    told = "\n\n".join(f"## {head}\n\n{text}" for head, text in sections)
    return (
        f"# RICE-NET, {title}\n\n**{NOTICE}**\n\n"
        "Tells tumour recurrence from radiation-induced contrast enhancement (RICE) after radiotherapy of a "
        f"glioblastoma. {record.folds} networks of a cross-validation answer, and their majority votes. "
        f"Trained on {exported.trained_on}. {exported.model} version {exported.version}, ensemble "
        f"`{record.digest}`, written by ricenet {ricenet.__version__}.\n\n{told}\n\n"
        f"{exported.card or _NO_EVIDENCE}"
    )


def data_license(exported: Exported) -> str:
    """Under which terms the training data and the weights stand, as far as that is known."""
    if exported.synthetic:
        return (
            "The networks were trained on synthetic phantoms, which ricenet makes from the MNI ICBM 152 "
            "tissue maps that nilearn ships\n(Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging "
            "Centre, Montreal Neurological Institute, McGill University;\ntheir notice permits use, copies, "
            "changes and distribution). No phantom is in this bundle.\n"
        )
    return (
        "No data are in this bundle, and no licence of the training data is known to it. Whether the weights "
        "may be passed on,\nand under which terms, is for whoever is responsible for those data to say: ask "
        "before you do.\n"
    )


def _input(exported: Exported) -> str:
    record = exported.record
    rows = [
        f"| `{volume_file(spec, record.grid)}` | {channel_of_file(spec, record)} |" for spec in record.members
    ]
    where = "a crop as ricenet places it" if record.input in CROPS else "the cube around the brain"
    seen = "" if record.box is None else f" The networks see {record.grid}, which the config cuts out."
    return (
        f"A folder with a folder `{SUBJECT_FOLDERS}` a subject, each with compressed NIfTI files on {where}: "
        f"{record.grid.whole} along each axis, RAS, all on the same grid.{seen}\n\n"
        f"| file | voxels |\n|---|---|\n{_lines(rows)}\n\n"
        "That is what `ricenet` leaves in `work/preprocessed`, and what its preprocessing is needed for: "
        "registration, brain, cube and z-scores are no part of the bundle, since no transform of MONAI does "
        "the same. The config does the rest exactly: the dose's unit, the order of channels, rounding to "
        "float16. Volumes on another grid are refused; other values are not noticed."
    )


def _output(exported: Exported) -> str:
    recalibrated = exported.threshold is not None
    written = {"subject", "fold_0, ...", *table_columns(0, recalibrated)}
    rows = [f"| `{name}` | {text} |" for name, text in _COLUMNS.items() if name in written]
    least = exported.threshold.least_confidence if exported.threshold else None
    three_way = (
        f" ricenet's three-way answer needs a calibrated probability of {least:.4f} or more for either "
        "label, and the majority's agreement; else it is indeterminate."
        if least is not None
        else ""
    )
    return (
        f"`{TABLE}` in the output folder, a row a subject:\n\n| column | meaning |\n|---|---|\n{_lines(rows)}"
        f"\n\n`pred` of the network holds the logits of {' and '.join(LABELS)}, by fold.{three_way}"
    )


def _lines(rows: Sequence[str]) -> str:
    return "\n".join(rows)


_NO_EVIDENCE = (
    "## Scores\n\nNot stated: the evidence of this version was not at hand when the bundle was written.\n"
)

_RUN = (
    "ricenet is not needed. From the bundle's folder, with the versions of configs/metadata.json or later "
    f"ones:\n\n```\npip install {' '.join(['monai', 'nibabel', 'safetensors', *RUN_BY])}\n"
    "python -m monai.bundle run --config_file configs/inference.json \\\n"
    "    --dataset_dir INPUT --output_dir OUTPUT\n```\n\n"
    "A config of MONAI is code that is run: run bundles of people whom you trust. From elsewhere, add "
    "`--bundle_root FOLDER`. A GPU is used where torch sees one."
)

_FILES = (
    "`configs/inference.json` and `configs/metadata.json`; `models/fold-<k>.safetensors`, byte for byte "
    "those of the registered ensemble. There is no `models/model.pt`, which MONAI's specification asks for: "
    "it would be a pickle, which may run code when it is read. Tools that read weights from there alone do "
    "not work with this bundle."
)

_REFERENCES = (
    f"Method: {CITATION}. LICENSE is that of the configuration; of data and weights: docs/data_license.txt."
)
