"""Where a project stands, in a few lines: what has run, what is out of date, results, champion, test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.splits import read_splits
from ricenet.evaluation.evidence.gate import GateRecord, failed_conditions
from ricenet.evaluation.evidence.record import EVIDENCE_FILE
from ricenet.evaluation.labels.record import read_any_evidence
from ricenet.inference.test_ledger import ledger_path, read_ledger
from ricenet.report.sentences import best_sentence, gate_text
from ricenet.runtime.files import read_json
from ricenet.runtime.stage_times import read_stage_times, shown

SPLITS = Path("work/splits/splits.json")
CHAMPIONS = Path("work/champions.json")
PAGES = {
    "report": Path("work/report/index.html"),
    "quality": Path("work/quality/index.html"),
    "explain": Path("work/explain"),
}
"""Pages for people, by the name that `ricenet open` knows; of the explanations, a folder a modality set."""


def status_lines(
    project: Path, changed: Mapping[str, Sequence[str]] | None, promoted: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(what, how it is), in the order in which the protocol runs.

    changed: by stage, what changed since it ran. promoted: modality set -> the champion's digest as MLflow
    has it. None: not known. Raises ResultError: a record is damaged.
    """
    found = [
        ("cohort", _cohort(project)),
        ("stages", _stages(project, changed)),
        ("result", _result(project)),
        ("champion", _champions(project, promoted)),
        ("test set", _last_evaluation(project)),
        ("next", next_step(project, changed, promoted)),
    ]
    return [(what, text) for what, text in found if text]


def next_step(
    project: Path, changed: Mapping[str, Sequence[str]] | None, promoted: Mapping[str, str] | None = None
) -> str:
    """The command that leads on. changed, promoted: as of `status_lines`."""
    if not _is_file(project, EVIDENCE_FILE):
        return (
            "`dvc repro` runs the protocol on the cohort of params.yaml; for your own patients first "
            "`ricenet import dicom`, or `ricenet cohort add COHORT`"
        )
    if changed:
        return "`dvc repro` brings everything up to date"
    known = _champion_digests(project)
    if promoted and dict(promoted) != known:
        return "`dvc repro` lets the new champion vote on the test set; `ricenet predict` answers new cases"
    if not (known if promoted is None else promoted):
        return _promotion(project)
    return "`ricenet open report`; `ricenet predict` answers new cases"


def _promotion(project: Path) -> str:
    """What to do where nothing is promoted: the best set, unless the gate would refuse it."""
    best = read_any_evidence(project / EVIDENCE_FILE).best_set
    record = project / EVIDENCE_FILE.parent / "gate" / f"{best}.json"
    if record.is_file() and (failed := failed_conditions(GateRecord.read(record, "evidence"))):
        return f"`ricenet open report`; the gate refuses the best set, {best}, since {failed[0].found}"
    return f"`ricenet open report`, then `ricenet promote {best}`, or another set of `ricenet open ui`"


def page_of(project: Path, name: str) -> Path | None:
    """The first page of `report`, `quality` or `explain`; None where it was not made yet."""
    place = project / PAGES[name]
    if place.is_dir():
        return next(iter(sorted(place.glob("*/index.html"))), None)
    return place if place.is_file() else None


def _cohort(project: Path) -> str:
    if not _is_file(project, SPLITS):
        return "not divided into folds yet"
    splits = read_splits(project / SPLITS)
    return (
        f"{len(splits.development)} subjects in {len(splits.folds)} folds, {len(splits.test)} in the test set"
    )


def _stages(project: Path, changed: Mapping[str, Sequence[str]] | None) -> str:
    times = read_stage_times(project / "work" / "stage_times.json")
    if not times:
        return "none has run yet"
    text = f"{len(times)} have run, in {shown(sum(times.values()))}"
    if not changed:
        return (
            f"{text}; {'DVC was not asked what is out of date' if changed is None else 'all are up to date'}"
        )
    first, *others = changed
    following = f", and with it {', '.join(others)}" if others else ""
    return f"{text}; out of date: {first} ({', '.join(changed[first])}){following}"


def _result(project: Path) -> str:
    if not _is_file(project, EVIDENCE_FILE):
        return ""
    return best_sentence(read_any_evidence(project / EVIDENCE_FILE))


def _champions(project: Path, promoted: Mapping[str, str] | None) -> str:
    digests = _champion_digests(project) if promoted is None else promoted
    if not digests:
        return "none when `dvc repro` last looked" if promoted is None else "none"
    return ", ".join(f"{name} (digest {digest[:12]})" for name, digest in digests.items())


def _champion_digests(project: Path) -> dict[str, str]:
    digests: dict[str, str] = read_json(project / CHAMPIONS) if _is_file(project, CHAMPIONS) else {}
    return digests


def _last_evaluation(project: Path) -> str:
    rows = read_ledger(ledger_path(project))
    if not rows:
        return "never evaluated"
    last = rows[-1]
    return (
        f"evaluation {last.evaluation} on {last.utc}: {last.modality_set} (digest {last.digest12}), macro-F1 "
        f"{float(last.macro_f1):.2f} of {last.n} subjects, gate {gate_text(last.gate)}"
    )


def _is_file(project: Path, path: Path) -> bool:
    return (project / path).is_file()
