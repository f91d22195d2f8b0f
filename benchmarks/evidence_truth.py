"""Does the evidence agree with what is known of the phantom? Four cohorts whose truth is documented.

    python benchmarks/evidence_truth.py            # in the project's folder; trains 70 folds unless kept

- The default phantom, whose label depends on the dose most: the dose's Shapley value is the largest.
- Heads with labels in which the dose has no part (post_op_only): neither audit nor Shapley values find one.
- The default phantom with the site named after the label: the guard finds it.
- The default phantom with one patient twice: the guard finds it.

Results are kept in work/evidence-truth and in the stores, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from figure import report
from phantom_training import TrainedPhantom, trained_phantom

from ricenet.cli.running import log_to_stderr
from ricenet.cohort.checks import admit, check_cohort
from ricenet.cohort.layout import PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.splits import write_splits
from ricenet.config.params import Params, read_params
from ricenet.evaluation.evidence.build import CrossValidation, EvidenceSettings, build_evidence
from ricenet.evaluation.evidence.contribution import contribution_sentence
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.evidence.scalars import cohort_scalars
from ricenet.evaluation.intervals import Estimate
from ricenet.phantom.mechanism import mechanism_named
from ricenet.screening.guards.result import GuardResult
from ricenet.screening.guards.run_guards import guards_of_cohort
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS
from ricenet.vocabulary import PAPER_VOLUMES

WORK = Path("work/evidence-truth")


def main() -> None:
    """Print what the evidence says of each cohort, and a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args()
    log_to_stderr()
    params = read_params()
    mechanism, no_dose = mechanism_named(params.phantom.mechanism), mechanism_named("post_op_only")
    default = trained_phantom(params, params.phantom.seed, mechanism, WORK / "default")
    without = trained_phantom(params, params.phantom.seed, no_dose, WORK / "no-dose")
    started_s = time.perf_counter()
    found = evidence_of(params, default)
    seconds = time.perf_counter() - started_s
    report_default(found)
    report("evidence_seconds", seconds, "< 90", f"{found.sets['dose'].n} subjects, 7 sets", seconds < 90)
    report_no_dose(evidence_of(params, without))
    report_guard("label_leakage", "site named after the label", guards(params, default, site_is_label))
    report_guard("same_image", "a patient twice", guards(params, default, one_patient_twice))
    report_guard("none", "the default phantom as it is", guards(params, default, lambda cohort: None))


def evidence_of(params: Params, phantom: TrainedPhantom) -> Evidence:
    """What the stage `evidence` would say."""
    predictions = {
        name: [
            prediction
            for task in phantom.tasks
            if task.modality_set == name
            for prediction in read_predictions(task.folder / PREDICTIONS)
        ]
        for name in params.volumes.sets
    }
    subjects = phantom.splits.development
    scalars = cohort_scalars(
        phantom.cohort, phantom.preprocessed, subjects, params.execution, params.preprocessing
    )
    declared = (phantom.splits, params.volumes, params.variables)
    settings = params.evidence
    given = EvidenceSettings(
        params.seed, settings.resamples, settings.target_error, settings.conformal_coverage
    )
    return build_evidence(CrossValidation(predictions, scalars), (), None, *declared, given)


def report_default(found: Evidence) -> None:
    """The dose contributes most, as the mechanism says."""
    sentence = contribution_sentence(found.contributions, found.volumes)
    print(f"default phantom: {found.audit.verdict}\n  {sentence}")
    of = found.contributions[0].modalities
    margin = of["dose"].value - max(of[m].value for m in of if m != "dose")
    report("default: Shapley value of the dose above the others'", margin, "> 0", sentence, margin > 0)


def report_no_dose(found: Evidence) -> None:
    """No interval claims that the dose, or its scalars, knows the label."""
    sentence = contribution_sentence(found.contributions, found.volumes)
    print(f"no dose effect: {found.audit.verdict}\n  {sentence}")
    for contribution in found.contributions[:2]:
        name = f"no dose effect: lower end of the dose's Shapley value of {contribution.score}"
        report_nothing_known(name, contribution.modalities["dose"], 0.0)
    scalars = next(b for b in found.audit.baselines if b.name == "dose").scores.auc
    report_nothing_known("no dose effect: lower end of the dose scalars' AUC", scalars, 0.5)
    report_nothing_known("no dose effect: lower end of the dose network's AUC", found.sets["dose"].auc, 0.5)


def report_nothing_known(name: str, found: Estimate, chance: float) -> None:
    """An interval that does not lie above what chance gives."""
    report(name, found.low, f"<= {chance:g}", found.text(), found.low <= chance)


def guards(params: Params, phantom: TrainedPhantom, plant: Callable[[Path], None]) -> tuple[GuardResult, ...]:
    """What the guards say of a copy of the cohort with something planted in it."""
    cohort, splits = WORK / "planted" / "cohort", WORK / "planted" / "splits.json"
    shutil.rmtree(cohort.parent, ignore_errors=True)
    shutil.copytree(phantom.cohort.root, cohort)
    plant(cohort)
    write_splits(phantom.splits, splits)
    return tuple(
        guards_of_cohort(
            admit(check_cohort(cohort), exclude_faulty=False),
            phantom.preprocessed,
            splits,
            params.guards.similar_correlation,
            params.preprocessing.dose_unit_gy,
            params.execution,
            Path("work/store").absolute(),
        )
    )


def site_is_label(cohort: Path) -> None:
    """Name each subject's site after its label."""
    table = cohort / PARTICIPANTS_TABLE
    header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    label, site = header.index("label"), header.index("site")
    named = [[*row[:site], f"hospital-{row[label]}", *row[site + 1 :]] for row in rows]
    table.write_text("\n".join("\t".join(row) for row in [header, *named]) + "\n")


def one_patient_twice(cohort: Path) -> None:
    """Put one subject's scans, and what its dose means, in another's place."""
    one, other = RawSubject(cohort, "sub-002"), RawSubject(cohort, "sub-003")
    for modality in PAPER_VOLUMES.names:
        shutil.copyfile(one.scan(modality), other.scan(modality))
    shutil.copyfile(one.dose_sidecar, other.dose_sidecar)


def report_guard(expected: str, planted: str, found: tuple[GuardResult, ...]) -> None:
    """Which guards failed."""
    failed = [guard.name for guard in found if guard.outcome == "failed"]
    found_text = "; ".join(guard.found for guard in found if guard.outcome in ("failed", "warning"))
    print(f"{planted}: {found_text or 'nothing found'}")
    wanted = [] if expected == "none" else [expected]
    report(
        f"guards that failed on {planted}",
        len(failed),
        ", ".join(wanted) or "none",
        ", ".join(failed),
        failed == wanted,
    )


if __name__ == "__main__":
    main()
