"""What a run knows of itself, in short sentences by name: read once, said by model card and checklists.

A fact that the results do not hold is "". Nothing here names a subject. Built without a heavy package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ricenet.evaluation.evidence.calibration_record import ConformalSets
from ricenet.evaluation.evidence.record import Evidence
from ricenet.evaluation.robustness.effects import Effect, Robustness
from ricenet.report.cohort_table import FEWEST
from ricenet.screening.guards.result import guards_verdict

if TYPE_CHECKING:
    from ricenet.report.reference_standard import ReferenceStandard
    from ricenet.report.results import Results

SINGLE_NETWORKS = (
    "Shares answered and wrong are those of the single networks that had not seen the subject. The ensemble "
    "of the folds answers by the mean of its networks and needs the majority of them to agree, at the same "
    "threshold, so its own shares differ."
)
"""Of whom the three-way vote's figures are."""

Facts = dict[str, str]
"""Name -> a sentence without its full stop, or "" where the results do not hold it."""


def model_facts(evidence: Evidence, modality_set: str, robustness: Robustness | None = None) -> Facts:
    """Of one modality set's model, by the evidence and what its perturbations did."""
    scores = evidence.sets[modality_set]
    return {
        "development": f"{scores.n} subjects in cross-validation; splits `{evidence.splits_digest[:12]}`",
        "scores": f"held out: macro-F1 {scores.macro_f1.text()}, AUC {scores.auc.text()}",
        "rates": (
            f"sensitivity for RICE {scores.sensitivity.text()}, specificity {scores.specificity.text()}"
        ),
        "chance": (
            f"The chance level of the macro-F1 is {evidence.chance_macro_f1:.2f}; always naming the commoner "
            f"label gives {evidence.majority.macro_f1.value:.2f}"
        ),
        "calibration": _calibration(evidence, modality_set),
        "three_way": _three_way(evidence, modality_set),
        "answered_by": SINGLE_NETWORKS.rstrip(".") if _answers(evidence, modality_set) else "",
        "label_sets": label_sets_fact(evidence.conformal.get(modality_set)),
        "perturbation": _worst(robustness.effects.get(modality_set, ()) if robustness else ()),
        "guards": guards_verdict(evidence.guards) if evidence.guards else "",
        "baselines": evidence.audit.verdict.rstrip("."),
    }


def study_facts(results: Results, standard: ReferenceStandard) -> Facts:
    """Of the whole run: of its best set's model, its subjects, labels, test set and pages."""
    evidence, splits = results.evidence, results.splits
    of_model = model_facts(evidence, evidence.best_set, results.robustness)
    numbers = f"{len(splits.development)} in cross-validation, {len(splits.test)} for the test"
    return {
        **of_model,
        "subjects": f"{numbers}, {len(results.cohort.excluded)} excluded",
        "division": f"{len(splits.folds)} folds by subject, each label dealt evenly",
        "subgroups": _counted(
            len({group.variable for group in evidence.subgroups}), "variable", "groups of {}"
        ),
        "net_benefit": _counted(len(evidence.decision_curve.points), "threshold", "net benefit at {}"),
        "repeats": _counted(
            len(evidence.repeats.fold_seeds) if evidence.repeats else 0, "other division", "{} into folds"
        ),
        "tuned": _counted(len(results.tuned), "set", "{} searched for in nested folds"),
        "maps": _counted(len(results.explanations), "prediction", "maps of {}"),
        "quality": _counted(len(results.measures), "subject", "{} examined by quality control"),
        "test": _test(results),
        "external": _counted(len(results.validations), "result", "{} of other hospitals")
        or "no outside cohort was tested",
        "external_results": "known" if results.validations else "",
        "characteristics": _characteristics(results),
        "sites": _counted(
            len({p.site for p in results.participants.values() if p.site is not None}), "site", "{} named"
        ),
        **_site_facts(evidence),
        **_standard(standard),
    }


def _site_facts(evidence: Evidence) -> Facts:
    sites = evidence.sites
    if sites is None:
        return {"site_scores": "", "sites_left_out": ""}
    left_out = f"each of {len(sites.rows)} sites was left out in turn" if sites.folds_are_sites else ""
    return {"site_scores": f"scores of {len(sites.rows)} sites", "sites_left_out": left_out}


def label_sets_fact(found: ConformalSets | None) -> str:
    """What the sets of labels reach among held-out subjects."""
    if found is None or found.covered is None:
        return ""
    covered = ", ".join(f"{label} {share.text()}" for label, share in found.covered.items())
    return f"sets of labels aimed at {found.thresholds.coverage * 100:g} % hold the true one: {covered}"


def _calibration(evidence: Evidence, modality_set: str) -> str:
    found = evidence.calibration.get(modality_set)
    if found is None:
        return ""
    return (
        f"Probabilities {found.weak.sentence}. {found.recalibration.sentence} "
        f"{found.gain_sentence.rstrip('.')}"
    )


def _answers(evidence: Evidence, modality_set: str) -> bool:
    vote = evidence.abstention.get(modality_set)
    return vote is not None and vote.threshold is not None


def _three_way(evidence: Evidence, modality_set: str) -> str:
    vote = evidence.abstention.get(modality_set)
    if vote is None:
        return ""
    if vote.threshold is None:
        return (
            f"No confidence reaches the target error of {vote.target_error * 100:g} %: every vote is "
            "indeterminate"
        )
    error = "" if vote.error is None else f", {vote.error.text()} of them wrong"
    return (
        f"Three-way vote (rice, recurrence, indeterminate) for an error of {vote.target_error * 100:g} %: an "
        f"answer from a confidence of {vote.threshold:.2f}; held-out subjects answered: "
        f"{vote.coverage.text()}{error}"
    )


def _worst(effects: tuple[Effect, ...]) -> str:
    worst = max(effects, key=lambda effect: effect.flip_rate.value, default=None)
    if worst is None:
        return ""
    strength = "" if worst.strength is None else f", {worst.strength:g} {worst.unit}".rstrip()
    return f"Most answers change under: {worst.title}{strength}, a share of {worst.flip_rate.text()}"


def _test(results: Results) -> str:
    if not results.votes:
        return ""
    votes = _counted(len(results.votes), "model", "{} voted")
    return f"{votes}; {results.evaluations} evaluation(s) of this test set by the ledger"


def _characteristics(results: Results) -> str:
    people = [results.participants[s] for s in results.splits.labels if s in results.participants]
    known = {
        "age": sum(person.age_years is not None for person in people),
        "sex": sum(person.sex is not None for person in people),
    }
    said = [f"{name} of {n}" for name, n in known.items() if n]
    return f"{' and '.join(said)} of {len(results.splits.labels)} subjects" if said else ""


def _standard(standard: ReferenceStandard) -> Facts:
    n, found = standard.subjects, standard.agreement
    of = {
        "source": (standard.with_source, 'source of the label ("label by")'),
        "reader": (standard.with_reader, "code of the reader"),
        "certainty": (standard.with_certainty, "certainty of the label"),
        "days": (standard.with_days, "days from the event to the decision"),
    }
    facts = {name: f"{what} of {k} of {n} subjects" if k else "" for name, (k, what) in of.items()}
    return {
        **facts,
        "second_reader": ""
        if found is None or found.n < FEWEST
        else f"a second reader of {found.n}: {found.said}",
    }


def _counted(n: int, noun: str, text: str) -> str:
    return text.format(f"{n} {noun}{'' if n == 1 else 's'}") if n else ""
