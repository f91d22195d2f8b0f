"""One external validation: a package and a cohort become a result, and a private folder."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ricenet.cohort.description import is_synthetic
from ricenet.config.params import ExecutionParams
from ricenet.importing.private_files import make_private_folder, write_private
from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import atomic_folder, write_json, write_text
from ricenet.study.answers import cohort_answers
from ricenet.study.cohort import read_study_cohort
from ricenet.study.evaluate import Evaluator
from ricenet.study.local_ledger import LEDGER, read_local_ledger, record_evaluation
from ricenet.study.open_package import StudyPackage
from ricenet.study.plan import with_also
from ricenet.study.result import OVERLAP, StudyResult
from ricenet.study.result_page import result_page
from ricenet.study.small_cells import count_text
from ricenet.study.subgroups import subgroup_results

RESULT, PAGE, PREDICTIONS = "result.json", "result.html", "predictions.tsv"

_README = """\
PRIVATE: this folder stays in the hospital. It holds predictions of single patients (predictions.tsv), what
the networks said of each (store), and the list of evaluations with its secret salt (ledger.json). Nothing of
it is part of a result, and nothing here is to be sent. Keep it: with it the next evaluation takes seconds,
and is counted.
"""


def validate(
    package: StudyPackage,
    cohort: Path,
    private: Path,
    execution: ExecutionParams,
    versions: Mapping[str, str],
    also: Sequence[str] = (),
    exclude_faulty: bool = False,
) -> StudyResult:
    """Evaluate a cohort by a package's plan, and count that.

    private: a folder for what stays there. also: what is computed beyond the plan. versions: of the packages
    here. Raises StudyError, CohortError, ScanError, VariableError: what cannot be used; then nothing is
    counted.
    """
    plan, ensemble = package.plan, package.ensemble
    metrics, subgroups = with_also(plan, also, ensemble.variables)
    make_private_folder(private)
    # before hours of work
    read_local_ledger(private / LEDGER)
    judged = read_study_cohort(cohort, ensemble, plan, exclude_faulty)
    for subgroup in subgroups:
        if judged.values(subgroup, ensemble.variables) is None:
            raise StudyError(
                f"--also: participants.tsv has no column {subgroup.column}. Add it, or leave it out"
            )
    write_private(private / "README.txt", _README)
    answers = cohort_answers(package, judged, private, execution)
    write_private(private / PREDICTIONS, answers.table)
    evaluator, limit = Evaluator(answers, plan, package.decision), plan.smallest_cell
    numbers = tuple(evaluator.numbers(metrics))
    of_groups = tuple(subgroup_results(answers, judged, plan, subgroups, ensemble.variables))
    record = package.record
    # the last step before anything can be looked at
    cohort_digest, evaluations = record_evaluation(private, record.seal, judged.checked.digest, also)
    return StudyResult(
        seal=record.seal,
        plan=record.plan,
        ensemble=record.ensemble,
        modality_set=record.modality_set,
        model=record.model,
        version=record.version,
        primary=plan.primary,
        smallest_cell=limit,
        sealed_utc=record.sealed_utc,
        cohort=cohort_digest,
        synthetic=is_synthetic(cohort),
        n={label: count_text(n, limit) for label, n in evaluator.n.items()},
        left_out={why: count_text(n, limit) for why, n in judged.left_out.items()},
        outside_ranges=None if answers.outside is None else count_text(answers.outside, limit),
        confusion=evaluator.confusion(),
        numbers=numbers,
        roc=evaluator.roc(),
        subgroups=of_groups,
        evaluations=evaluations,
        overlap=OVERLAP,
        versions=dict(versions),
        other_versions=tuple(
            name for name, version in sorted(versions.items()) if record.versions.get(name) != version
        ),
    ).with_digest()


def write_result(result: StudyResult, package: StudyPackage, folder: Path) -> None:
    """Write result.json and result.html into a new folder. Raises StudyError: it is not empty."""
    require_new(folder)
    with atomic_folder(folder) as made:
        write_json(made / RESULT, result.model_dump(mode="json"))
        write_text(made / PAGE, result_page(result, package.plan, package.home))


def require_new(folder: Path) -> None:
    """Refuse a folder in use. Raises StudyError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder.name} is not an empty folder. Name a new one for the result (--out)")


def require_apart(folder: Path, private: Path) -> None:
    """Refuse a result that would lie with what is private, and a private folder that others may open.

    Raises StudyError.
    """
    one, other = folder.absolute(), private.absolute()
    if one == other or one in other.parents or other in one.parents:
        raise StudyError(
            f"{folder.name} and {private.name}: one lies in the other, so that predictions of single patients"
            " could be sent along with the result. Name folders apart (--out, --private)"
        )
    if private.is_dir() and (mode := stat.S_IMODE(private.stat().st_mode)) & 0o077:
        raise StudyError(
            f"{private.name} may be opened by others (mode {mode:o}). Close it (`chmod 700`), or name "
            "another (--private)"
        )
