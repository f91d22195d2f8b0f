"""A study package: one ZIP archive, uncompressed, its times fixed, so that equal content gives equal bytes.

Nothing of a single subject goes into it, no path and no code: weights as safetensors, all else as JSON.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from ricenet.inference.predict_subject import NOTICE
from ricenet.inference.three_way import DecisionThreshold
from ricenet.inference.training_ranges import TrainingRanges
from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import atomic_path, file_digest
from ricenet.study.package_record import (
    DECISION,
    ENSEMBLE,
    HOME,
    PLAN,
    RANGES,
    README,
    STUDY,
    HomeResults,
    PackageRecord,
    SealedRanges,
)
from ricenet.study.plan import AnalysisPlan, require_known_columns
from ricenet.training.ensemble_record import (
    RECORD,
    EnsembleRecord,
    intact_record,
    require_rice_task,
    weights_name,
)

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that an archive can state."""

_README = """\
A study package of RICE-NET, sealed {utc} (UTC). {notice}

It holds the model {title} and the plan by which it is to be judged on patients of another hospital:
plan.json says what is computed, home.json what held-out subjects at home gave. No subject is named in it, and
nothing in it is code. There, with ricenet {version} installed:

  ricenet validate THIS_FILE COHORT

writes aggregated results alone (result.json, result.html); predictions of single patients stay in a private
folder there. result.json goes back to whoever sealed the package, and into their report by

  ricenet validation add result.json

docs/external-validation.md says what is computed, and what a result holds and does not hold.
"""


@dataclass(frozen=True)
class StudyContent:
    """What goes into a package. files: the ensemble's folder. gate: what the evidence gate said, in words.

    home, decision: None where the evidence is not at hand. versions: of packages, by name.
    """

    model: str
    version: str
    files: Path
    plan: AnalysisPlan
    home: HomeResults | None
    decision: DecisionThreshold | None
    ranges: TrainingRanges
    gate: str
    synthetic: bool | None
    seed: int
    versions: Mapping[str, str]


def write_package(path: Path, content: StudyContent, sealed_before: Mapping[str, str]) -> PackageRecord:
    """Seal a package and write it at once and whole. path: of a new file.

    sealed_before: when packages of some content were sealed, by its digest; the same one keeps its time.
    Raises StudyError: a file in the way, or a plan with unknown columns. RegistryError: weights that are not
    the ensemble's, or one of other labels than the paper's two.
    """
    if path.exists() or path.is_symlink():
        raise StudyError(f"{path.name} is there already. Name a new file for the package")
    ensemble, weights = intact_record(content.files)
    require_rice_task(ensemble, "a study validates")
    ensemble.known_preprocessing()
    require_known_columns(content.plan.subgroups, ensemble.variables)
    texts = _texts(content)
    files = {name: sha256(text).hexdigest() for name, text in texts.items()}
    files |= {f"{ENSEMBLE}/{weights_name(fold)}": digest for fold, digest in enumerate(weights)}
    files[f"{ENSEMBLE}/{RECORD}"] = file_digest(content.files / RECORD)
    record = _described(content, ensemble, files, datetime.now(UTC).isoformat(timespec="seconds"))
    earlier = sealed_before.get(record.content)
    record = (record if earlier is None else record.model_copy(update={"sealed_utc": earlier})).sealed()
    readme = _README.format(
        utc=record.sealed_utc,
        notice=NOTICE,
        title=ensemble.volumes.set_title(ensemble.modality_set),
        version=content.versions.get("ricenet", "of the same version"),
    )
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, text in {
            STUDY: _json(record.model_dump(mode="json")),
            README: readme.encode(),
            **texts,
        }.items():
            _add(archive, name, io.BytesIO(text), len(text))
        for source in (RECORD, *(weights_name(fold) for fold in range(ensemble.folds))):
            with (content.files / source).open("rb") as stream:
                _add(archive, f"{ENSEMBLE}/{source}", stream, (content.files / source).stat().st_size)
    return record


def _described(
    content: StudyContent, ensemble: EnsembleRecord, files: dict[str, str], sealed_utc: str
) -> PackageRecord:
    return PackageRecord(
        modality_set=ensemble.modality_set,
        model=content.model,
        version=content.version,
        ensemble=ensemble.digest,
        folds=ensemble.folds,
        seed=content.seed,
        plan=content.plan.digest,
        gate=content.gate,
        synthetic=content.synthetic,
        versions=dict(content.versions),
        files=files,
        sealed_utc=sealed_utc,
    )


def _texts(content: StudyContent) -> dict[str, bytes]:
    """The members that are JSON, by name; null where something is not known."""
    records = {
        PLAN: content.plan,
        HOME: content.home,
        DECISION: content.decision,
        RANGES: SealedRanges.of(content.ranges),
    }
    return {
        name: _json(None if record is None else record.model_dump(mode="json"))
        for name, record in records.items()
    }


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _add(archive: zipfile.ZipFile, name: str, source: Any, size: int) -> None:
    member = zipfile.ZipInfo(name, _FIXED_TIME)
    # as of Unix, whatever the machine; for its owner alone
    member.create_system, member.external_attr, member.file_size = 3, 0o600 << 16, size
    with archive.open(member, "w") as target:
        shutil.copyfileobj(source, target)
