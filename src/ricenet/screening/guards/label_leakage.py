"""Guard: a property beside the images that leaks the label, such as the site or a file's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ricenet.cohort.scan_fingerprint import Property
from ricenet.screening.guards.label_tests import NEARLY, Association, by_threshold, by_value
from ricenet.screening.guards.properties import Properties, PropertyKind, kind_of
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import LABELS

LEAST_P = 0.001
"""Of all properties together (Bonferroni): a property that is less improbable may be chance."""

DRAWS_PER_PROPERTY = 4 / LEAST_P
"""So that even after the correction a p below LEAST_P can be found."""

MOST_VALUES = 0.25
"""Of a number, as a share of the subjects, for it to be taken for a category as well."""

_REMEDIES: Mapping[PropertyKind, str] = {
    "table": "Subjects of both labels have to come from the same sites and times: add the missing kind. A "
    "column that only says the label again (a diagnosis) does not reach the network: take it out of "
    "participants.tsv.",
    "file": "Scans of both labels have to be acquired and exported alike: make their files alike by one "
    "conversion of all, or add the missing kind.",
    "sidecar": "Doses of both labels have to be exported and described alike: the same keys in every "
    "sidecar, the same DoseSummationType. Where prescription or fractions themselves differ by label, the "
    "network sees it in the dose itself: add subjects of both labels so treated, or train modality sets "
    "without the dose alone and name this guard in guards.tolerated.",
}


@dataclass(frozen=True)
class Suspect:
    """A property that predicts the label; p of its association is corrected for the number of properties."""

    name: str
    association: Association

    def __str__(self) -> str:
        found = self.association
        how = "of every subject" if found.is_perfect else f"nearly always, {found.score:.2f}"
        return f"{self.name} ({how}; p {found.p:.1g})"


def label_leakage(properties: Properties, labels: Mapping[str, str]) -> GuardResult:
    """Look for properties that predict the label of every subject, or of nearly every one.

    properties: by name, then by subject. labels: of the labelled subjects, the only ones that count.
    Values are never shown, only the property's name.
    """
    if len(set(labels.values())) < 2:
        found = "the labelled subjects have one label only"
        return GuardResult.of("label_leakage", "not applicable", found)
    tested, suspects = suspects_of(properties, labels)
    if not suspects:
        found = f"none of {tested} properties beside the images predicts the label of {len(labels)} subjects"
        return GuardResult.of("label_leakage", "passed", found)
    perfect = [suspect for suspect in suspects if suspect.association.is_perfect]
    worst = perfect or suspects
    kinds = {kind_of(suspect.name) for suspect in worst}
    found = f"of {tested} properties, these predict the label: {'; '.join(map(str, worst))}"
    remedy = " ".join(remedy for kind, remedy in _REMEDIES.items() if kind in kinds)
    return GuardResult.of("label_leakage", "failed" if perfect else "warning", found, remedy)


def suspects_of(properties: Properties, labels: Mapping[str, str]) -> tuple[int, list[Suspect]]:
    """How many properties were tested, and those that predict the label and would not by chance."""
    readings = {
        name: reading
        for property_name, values in properties.items()
        for name, reading in _readings(property_name, {s: values.get(s) for s in labels}).items()
        if len(set(reading.values())) > 1 and len({labels[s] for s in reading}) > 1
    }
    draws = int(DRAWS_PER_PROPERTY * len(readings))
    suspects = []
    for name, reading in readings.items():
        found = _association(reading, labels, draws)
        corrected = replace(found, p=min(1.0, found.p * len(readings)))
        if corrected.score > NEARLY and corrected.p < LEAST_P:
            suspects.append(Suspect(name, corrected))
    return len(readings), suspects


def _readings(name: str, values: Mapping[str, Property]) -> dict[str, Mapping[str, str | float]]:
    """The values that are given, and whether one is given."""
    return {
        name: {subject: value for subject, value in values.items() if value is not None},
        f"{name}, whether given": {subject: str(value is not None) for subject, value in values.items()},
    }


def _association(reading: Mapping[str, str | float], labels: Mapping[str, str], draws: int) -> Association:
    """Of the label that is told apart from the rest best; of the paper's two one says all."""
    every = {*labels.values()}
    asked = ["rice"] if every <= {*LABELS} else sorted({labels[subject] for subject in reading})
    found = [_of_label(reading, [labels[s] == label for s in reading], draws) for label in asked]
    best = min(found, key=lambda association: (association.p, -association.score))
    return replace(best, p=min(1.0, best.p * len(asked)))


def _of_label(reading: Mapping[str, str | float], is_rice: list[bool], draws: int) -> Association:
    values = list(reading.values())
    words = [str(value) for value in values]
    if not all(isinstance(value, float) for value in values):
        return by_value(words, is_rice, draws)
    ordered = by_threshold([float(value) for value in values], is_rice)
    if len(set(words)) > MOST_VALUES * len(words):
        return ordered
    # such as 160 slices for one label, 155 and 165 for the other
    either = min(ordered, by_value(words, is_rice, draws), key=lambda found: found.p)
    return replace(either, p=2 * either.p)
