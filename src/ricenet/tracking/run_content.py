"""What a run shall hold, as plain values: the files' side of the projection into MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from ricenet.runtime.files import content_digest, file_digest

Epoch = tuple[int, Mapping[str, float]]
"""An epoch's number, from 1, and its quantities by name."""


COMMIT, UNCOMMITTED = "mlflow.source.git.commit", "ricenet.uncommitted_changes"
"""The code that trained a run's folds: the commit, and whether src or params.yaml differed from it."""

ARITHMETIC = "ricenet.computed_on"
"""Device, precision and threads that trained a run's folds."""


@dataclass(frozen=True)
class ArtifactGroup:
    """A folder of a run's artifacts. files: path inside the folder -> file. digest: of what they hold."""

    folder: str
    files: Mapping[str, Path]
    digest: str

    @classmethod
    def of_files(cls, folder: str, files: Mapping[str, Path]) -> Self:
        """A group whose digest is that of the files' names and bytes."""
        return cls(folder, files, content_digest({name: file_digest(path) for name, path in files.items()}))

    @classmethod
    def of_folder(cls, folder: str, source: Path) -> Self:
        """All files below `source`, but hidden ones; none where it does not exist."""
        paths = [p for p in sorted(source.rglob("*")) if p.is_file() and not p.name.startswith(".")]
        return cls.of_files(folder, {p.relative_to(source).as_posix(): p for p in paths})


@dataclass(frozen=True)
class RunContent:
    """Everything that a run shall hold, determined by files alone."""

    kind: Literal["set", "fold", "quality", "tuning", "trial"]
    name: str
    set_key: str
    key: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Sequence[Epoch] = ()
    artifacts: Sequence[ArtifactGroup] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of the content: a run tagged with it needs nothing."""
        epochs = [[epoch, {k: repr(v) for k, v in values.items()}] for epoch, values in self.history]
        return content_digest(
            {
                "name": self.name,
                "params": dict(self.params),
                "tags": dict(self.tags),
                "metrics": {k: repr(v) for k, v in self.metrics.items()},
                "history": epochs,
                "artifacts": {group.folder: group.digest for group in self.artifacts},
            }
        )


def set_key(modality_set: str, fold_keys: Iterable[str]) -> str:
    """The key of a modality set's run, known before training from the keys of its folds."""
    return content_digest({"modality_set": modality_set, "fold_keys": list(fold_keys)})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as text under dotted names, as MLflow's parameters are.

    >>> flat({"brain": {"mode": "fast"}, "cube_voxels": 32})
    {'brain.mode': 'fast', 'cube_voxels': '32'}
    """
    result: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = str(value)
    return result


def fold_run_name(modality_set: str, fold: int) -> str:
    """The name under which a fold's run is listed."""
    return f"{modality_set} fold {fold}"


def code_tags(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Which code trained some folds, as tags. records: the contents of their fold.json.

    Without the commit where they were trained by several.
    """
    tags = {}
    commits = {record.get("commit") for record in records}
    if len(commits) == 1 and None not in commits:
        tags[COMMIT] = str(*commits)
    if states := [record["uncommitted_changes"] for record in records if "uncommitted_changes" in record]:
        tags[UNCOMMITTED] = str(any(states)).lower()
    return tags


def arithmetic_tags(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What folds were computed on, as a tag: where that differs, the same settings give other weights.

    records: the contents of their fold.json; without `threads` in those of earlier versions.
    """
    said = [
        ", ".join(
            [
                *(str(record[name]) for name in ("device", "precision") if name in record),
                *([f"{record['threads']} thread(s)"] if "threads" in record else []),
            ]
        )
        for record in records
    ]
    known = sorted({text for text in said if text})
    return {ARITHMETIC: "; ".join(known)} if known else {}


def common_params(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The settings that all folds of a set share, as MLflow's parameters."""
    of_folds = [fold_params(record) for record in records]
    return {
        name: text
        for name, text in of_folds[0].items()
        if name != "fold" and all(params.get(name) == text for params in of_folds)
    }


def fold_params(record: Mapping[str, Any]) -> dict[str, str]:
    """A fold's settings as MLflow's parameters. record: the content of fold.json."""
    settings = {name: str(record[name]) for name in ("modality_set", "fold", "seed")}
    return {**settings, **flat(record["parameters"])}
