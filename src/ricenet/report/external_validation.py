"""What other hospitals found of models that were sealed here, beside the home numbers of the same package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ricenet.study.accepted import SealedStudy, Validation
from ricenet.study.result import AS_GIVEN, PERFORMANCE, THREE_WAY, StudyResult
from ricenet.study.result_page import TITLES, estimate_text, home_numbers
from ricenet.vocabulary import LABELS

COLUMNS = {
    (PERFORMANCE, "macro_f1"): "macro-F1",
    (PERFORMANCE, "auc"): "AUC",
    (AS_GIVEN, "slope"): "calibration slope",
    (AS_GIVEN, "intercept"): "intercept",
    (THREE_WAY, "answered"): "three-way: answered",
    (THREE_WAY, "wrong among the answered"): "wrong among them",
}
"""Titles of the numbers, by part and name."""


@dataclass(frozen=True)
class ExternalRow:
    """One cohort of one package. n: by label. decided: when its numbers were, or what home's are of."""

    modality_set: str
    name: str
    n: tuple[str, ...]
    cells: tuple[str, ...]
    decided: str


@dataclass(frozen=True)
class LaterRow:
    """What was computed beyond a plan. n: of the group, in words."""

    name: str
    what: str
    found: str


def external_rows(studies: Mapping[str, SealedStudy], validations: Sequence[Validation]) -> list[ExternalRow]:
    """Home first, then the results, package by package in the order of sealing."""
    rows = list[ExternalRow]()
    for seal, study in sorted(studies.items(), key=lambda item: (item[1].sealed_utc, item[0])):
        of_package = [one for one in validations if one.result.seal == seal]
        if of_package:
            rows += [_home(study), *(_of_result(one) for one in of_package)]
    return rows


def later_rows(validations: Sequence[Validation]) -> Iterator[LaterRow]:
    """All that was decided after a package was sealed."""
    for one in validations:
        for number in one.result.numbers:
            if not number.planned:
                found = number.withheld if number.estimate is None else estimate_text(number.estimate)
                yield LaterRow(one.name, TITLES.get(number.name, number.name), found)
        for subgroup in one.result.subgroups:
            if not subgroup.planned:
                shown = [
                    f"{group.group}: {group.mark or (estimate_text(group.auc) if group.auc else 'nobody')}"
                    for group in subgroup.groups
                ]
                yield LaterRow(one.name, f"AUC by {subgroup.column}", subgroup.withheld or "; ".join(shown))


def external_sentences(validations: Sequence[Validation]) -> Iterator[str]:
    """The primary outcome of each result, in a sentence."""
    for one in validations:
        number = one.result.number(PERFORMANCE, one.result.primary)
        if number is None or number.estimate is None:
            continue
        yield (
            f"In another hospital ({one.name}), by a plan that was sealed before, the vote of "
            f"{one.result.model} version {one.result.version} has a {TITLES[one.result.primary]} of "
            f"{number.estimate.text()}; evaluation {one.result.evaluation} of that cohort."
        )


def _home(study: SealedStudy) -> ExternalRow:
    known = home_numbers(study.home)
    cells = (estimate_text(known[place]) if place in known else "not recorded" for place in COLUMNS)
    n = (
        ("not recorded",) * len(LABELS)
        if study.home is None
        else tuple(str(n) for n in study.home.n.values())
    )
    return ExternalRow(study.modality_set, "home, held-out subjects", n, tuple(cells), "as sealed")


def _of_result(one: Validation) -> ExternalRow:
    result = one.result
    n = tuple(str(n) for n in result.n.values())
    cells = tuple(_cell(result, *place) for place in COLUMNS)
    return ExternalRow(
        result.modality_set, one.name, n, cells, f"planned; evaluation {result.evaluation} of this cohort"
    )


def _cell(result: StudyResult, part: str, name: str) -> str:
    number = result.number(part, name)
    if number is None:
        return "not in the plan"
    text = number.withheld if number.estimate is None else estimate_text(number.estimate)
    return text if number.planned else f"{text} (later)"
