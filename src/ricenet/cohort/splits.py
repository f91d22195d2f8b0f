"""Who is trained on, validated on and kept for the independent test: written once, used by all sets.

Source: RICE-NET section 2 (five folds and an independent test set, separated by subject, the same
for every modality set).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ricenet.cohort.checked import CheckedSubject
from ricenet.cohort.dealing import NOBODY, Labels, as_folds, deal_folds, draw_test, share_of_labels
from ricenet.cohort.first_events import LaterVisits, first_events, later_visits
from ricenet.cohort.problems import named
from ricenet.cohort.settled_places import SettledPlaces
from ricenet.cohort.site_folds import site_folds
from ricenet.config.types import DivideBy
from ricenet.runtime.errors import SplitError
from ricenet.runtime.files import content_digest, write_json
from ricenet.runtime.records import read_result
from ricenet.vocabulary import LABELS, LabelNames, is_rice_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """Labelled subjects, divided: `folds[k]` are the validation subjects of fold k.

    Of a patient with several visits, labels, folds and test hold the first event; what statistics count is
    one sample a patient. later: labelled visits after it, by the first event; they go where it goes.

    label_names: the classes.
    """

    labels: Mapping[str, str]
    folds: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]
    later: LaterVisits = field(default_factory=dict)
    label_names: LabelNames = LABELS

    @property
    def content(self) -> dict[str, Any]:
        """As it is written: without later visits where nobody has any, without the paper's two classes."""
        divided = {"labels": dict(self.labels), "folds": self.folds, "test": self.test}
        if self.later:
            divided["later"] = {event: dict(visits) for event, visits in self.later.items()}
        return divided if is_rice_task(self.label_names) else divided | {"label_names": self.label_names}

    @property
    def digest(self) -> str:
        """Content address of the division."""
        return content_digest(self.content)

    @property
    def labels_of_visits(self) -> dict[str, str]:
        """Of first events and of later visits, by sample."""
        return dict(self.labels) | {s: label for visits in self.later.values() for s, label in visits.items()}

    @property
    def development(self) -> tuple[str, ...]:
        """Everyone outside the test set, in order of name."""
        return tuple(sorted(subject for fold in self.folds for subject in fold))

    def visits_of(self, events: Iterable[str]) -> tuple[str, ...]:
        """First events, each followed by the patient's later visits."""
        return tuple(sample for event in events for sample in (event, *self.later.get(event, ())))

    def validation_subjects(self, fold: int) -> tuple[str, ...]:
        """The subjects on which a fold's network is judged, with their later visits."""
        return self.visits_of(self.folds[fold])

    def training_subjects(self, fold: int) -> tuple[str, ...]:
        """The subjects from which a fold's network learns: all other folds, in order of name, all visits."""
        held_out = set(self.folds[fold])
        return self.visits_of(subject for subject in self.development if subject not in held_out)


def make_splits(
    subjects: Sequence[CheckedSubject],
    folds: int,
    test_fraction: float,
    seed: int,
    former: SettledPlaces | None = None,
    by: DivideBy = "subject",
    label_names: LabelNames = LABELS,
) -> Splits:
    """Divide the labelled subjects into a test set and stratified folds; their order has no influence.

    All visits of a patient stay together, and count as one subject with the label of the first event.
    by: "site" makes a fold of each site instead (`ricenet.cohort.site_folds`); the test set is drawn alike.

    The test set is the subjects with subset `test`. Where no subject has it, `test_fraction` of
    those without a subset (0 to 1, rounded up) is drawn, stratified by label; subjects with subset
    `train` are never drawn. former: where subjects stay (`ricenet.cohort.dealing`), of the same seed; its
    folds where there are as many, its test set where it was drawn by the same fraction. label_names: the
    classes, each of which every fold and a test set that is drawn hold.
    Raises SplitError: a subject twice, too few subjects of a label, only unlabelled test subjects, sites that
    cannot be judged.
    """
    _require_distinct(subjects)
    events = first_events(subjects)
    # by patient: a division that is kept knows no visits, of which another may become the first labelled
    people = [event.model_copy(update={"participant_id": p, "visit": 1}) for p, event in events.items()]
    divided = _divided(people, folds, test_fraction, seed, former, by, label_names)

    def named(patients: Iterable[str]) -> tuple[str, ...]:
        return tuple(events[patient].participant_id for patient in patients)

    labels = dict(zip(named(divided.labels), divided.labels.values(), strict=True))
    of_patients = tuple(map(named, divided.folds)), named(divided.test)
    splits = Splits(labels, *of_patients, later_visits(subjects), label_names)
    check_splits(splits)
    return splits


def _require_distinct(subjects: Sequence[CheckedSubject]) -> None:
    counts = Counter(s.participant_id for s in subjects)
    if repeated := sorted(subject for subject, n in counts.items() if n > 1):
        raise SplitError(f"subject {repeated[0]} is in the cohort {counts[repeated[0]]} times; keep it once")


def _divided(
    subjects: Sequence[CheckedSubject],
    folds: int,
    test_fraction: float,
    seed: int,
    former: SettledPlaces | None,
    by: DivideBy,
    label_names: LabelNames,
) -> Splits:
    """Of one sample a patient, called by the patient's name."""
    if unlabelled := [s.participant_id for s in subjects if s.label is None]:
        logger.info("%d subject(s) without a label are excluded: %s", len(unlabelled), named(unlabelled))
    labels = {s.participant_id: s.label for s in sorted(subjects, key=_name) if s.label is not None}
    former = former if former is not None and former.seed == seed else None
    test = _test_subjects(subjects, labels, test_fraction, seed, former, label_names)
    rest = {subject: label for subject, label in labels.items() if subject not in test}
    kept = former.fold_of if former is not None and former.by == by else NOBODY
    if by == "site":
        divided = site_folds({s.participant_id: s.site for s in subjects}, rest, kept, label_names)
    else:
        settled = kept if former and len(former.folds) == folds else NOBODY
        divided = _stratified_folds(rest, folds, seed, label_names, settled)
    return Splits(labels, divided, test)


def with_other_folds(splits: Splits, seed: int) -> Splits:
    """The same test set, and as many stratified folds of everyone else, dealt by another seed."""
    rest = {subject: splits.labels[subject] for subject in splits.development}
    folds = _stratified_folds(rest, len(splits.folds), seed, splits.label_names)
    return replace(splits, folds=folds)


def check_splits(splits: Splits) -> None:
    """Make sure that no subject is in two places and that each has a label.

    Raises SplitError: naming the subject and its places.
    """
    places: dict[str, list[str]] = {}
    members = {"the test set": splits.test} | {f"fold {k}": fold for k, fold in enumerate(splits.folds)}
    for place, subjects in members.items():
        for subject in subjects:
            places.setdefault(subject, []).append(place)
    for subject, found in sorted(places.items()):
        if len(found) > 1:
            raise SplitError(f"subject {subject} is in several places: {', '.join(found)}")
        if subject not in splits.labels:
            raise SplitError(f"subject {subject} is in {found[0]} but has no label")
    for event, visits in sorted(splits.later.items()):
        if event not in splits.labels:
            raise SplitError(f"subject {event} has later visits but no label")
        if misplaced := sorted(visits.keys() & splits.labels.keys()):
            raise SplitError(
                f"subject {misplaced[0]} is in {places[misplaced[0]][0]}, and a later visit of {event}"
            )
    if homeless := sorted(set(splits.labels) - set(places)):
        raise SplitError(f"subject {homeless[0]} has a label but is in no fold and not in the test set")


def write_splits(splits: Splits, path: Path) -> None:
    """Write the division and its digest as JSON, atomically.

    Raises SplitError: a subject in two places.
    """
    check_splits(splits)
    write_json(path, {"digest": splits.digest, **splits.content})


def read_splits(path: Path) -> Splits:
    """Read a division and check it again.

    Raises SplitError: no such file, a subject in two places, or content that does not fit its digest.
    FormatError: of another version.
    """
    if not path.is_file():
        raise SplitError(f"{path.name} not found in {path.parent}; `dvc repro split` makes it")
    content = read_result(path, "split")
    splits = Splits(
        content["labels"],
        tuple(tuple(fold) for fold in content["folds"]),
        tuple(content["test"]),
        content.get("later", {}),
        tuple(content.get("label_names", LABELS)),
    )
    check_splits(splits)
    if splits.digest != content["digest"]:
        raise SplitError(
            f"{path.name} was changed after it was made (digest {splits.digest[:12]}, "
            f"recorded {content['digest'][:12]}); "
            "change participants.tsv or the seed instead, and run `dvc repro split`"
        )
    return splits


def _name(subject: CheckedSubject) -> str:
    return subject.participant_id


def _test_subjects(
    subjects: Sequence[CheckedSubject],
    labels: Labels,
    test_fraction: float,
    seed: int,
    former: SettledPlaces | None,
    label_names: LabelNames,
) -> tuple[str, ...]:
    declared = sorted(s.participant_id for s in subjects if s.subset == "test")
    if declared:
        labelled = tuple(subject for subject in declared if subject in labels)
        if not labelled:
            raise SplitError(
                f"participants.tsv puts only unlabelled subjects in the test set ({named(declared)}); "
                "label them, or write n/a for their subset"
            )
        return labelled
    free = {s.participant_id: s.label for s in subjects if s.subset is None and s.label is not None}
    if test_fraction == 0 or not free:
        logger.warning("the independent test set is empty: no subject is marked test, and none is drawn")
        return ()
    quota = share_of_labels(free, test_fraction, label_names)
    fewest, counts = _label_counts(free, label_names)
    if fewest < 2 or min(quota.values()) < 1:
        each = "both labels" if len(label_names) == 2 else "every label"
        raise SplitError(
            f"a test set of {sum(quota.values())} (split.test_fraction {test_fraction:g} of {counts}) cannot "
            f"hold {each} and leave some of each; raise split.test_fraction, or set it to 0"
        )
    if former is None or former.test_fraction != test_fraction:
        return tuple(sorted(draw_test(free, test_fraction, seed, label_names=label_names)))
    settled = former.test, former.fold_of
    return tuple(sorted(draw_test(free, test_fraction, seed, *settled, label_names)))


def _stratified_folds(
    labels: Labels, folds: int, seed: int, label_names: LabelNames, former: Mapping[str, int] = NOBODY
) -> tuple[tuple[str, ...], ...]:
    fewest, counts = _label_counts(labels, label_names)
    if fewest < folds:
        raise SplitError(
            f"{folds} folds need at least {folds} subjects of each label outside the test set, "
            f"found {counts}; add subjects or lower split.folds"
        )
    return as_folds(deal_folds(labels, folds, seed, former, label_names), folds)


def _label_counts(labels: Labels, label_names: LabelNames) -> tuple[int, str]:
    """How many subjects the rarest label has, and the numbers of all in words."""
    counts = Counter(labels.values())
    of_each = {label: counts[label] for label in label_names}
    return min(of_each.values()), " and ".join(f"{n} {label}" for label, n in of_each.items())
