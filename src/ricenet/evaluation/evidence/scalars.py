"""What a table of scalars would know of each subject: a few numbers that need no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ricenet.cohort.layout import GROUND_TRUTH, PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.participants import MISSING, read_participants
from ricenet.evaluation.evidence.baselines import SITE, Scalars
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.tables import table_text
from ricenet.volume import load_nifti


def image_scalars(raw: RawSubject, preprocessed: Path) -> Scalars:
    """What preprocessing measured on a subject, and its masks. preprocessed: the subject's folder there.

    Raises ResultError: the subject is not preprocessed.
    """
    return {**Measurements.of_subject(preprocessed).scalars(raw.volumes), **_of_masks(raw)}


def table_scalars(cohort: Path, subjects: Iterable[str]) -> dict[str, Scalars]:
    """What participants.tsv of a checked cohort says of some subjects."""
    table = read_participants(cohort / PARTICIPANTS_TABLE)
    return {
        subject: {
            **{name: _known(table.cells[subject].get(name)) for name in SITE},
            "days_rt_end_to_event": table.participants[subject].interval_days,
        }
        for subject in subjects
    }


def scalars_table(scalars: Mapping[str, Scalars]) -> str:
    """TSV text, a row a subject; n/a where a value is not known."""
    names = list(next(iter(scalars.values()), {}))
    rows = [[subject, *(_cell(values[name]) for name in names)] for subject, values in scalars.items()]
    return table_text(["participant_id", *names], rows)


def _of_masks(raw: RawSubject) -> Scalars:
    truth = raw.cohort / GROUND_TRUTH / raw.subject
    candidates = {
        "lesion_ml": (raw.lesion_mask, truth / "lesion.nii.gz"),
        "cavity_ml": (raw.cavity_mask, truth / "cavity.nii.gz"),
    }
    return {
        name: next((_volume_ml(path) for path in paths if path.is_file()), None)
        for name, paths in candidates.items()
    }


def _volume_ml(path: Path) -> float:
    mask = load_nifti(path)
    return float((mask.data > 0.5).sum()) * mask.grid.voxel_ml


def _known(cell: str | None) -> str | None:
    return None if cell in (None, "", MISSING) else cell


def _cell(value: float | str | None) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else f"{value:.6g}"
