"""Folds of leave-one-site-out: each fold's validation subjects are all labelled subjects of one site.

A division by subjects puts a hospital's subjects on both sides, so that a network which recognises the
hospital is rewarded for it. Here every site is judged by networks that saw none of it, which is what a new
hospital meets. Nothing is drawn: the site alone decides, so that whoever joins moves nobody.

Source: internal-external cross-validation, Steyerberg and Harrell 2016.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ricenet.cohort.problems import named
from ricenet.runtime.errors import SplitError
from ricenet.vocabulary import LABELS

Sites = Mapping[str, str | None]
"""The site of each subject, as participants.tsv has it; None where it says n/a."""

OTHERWISE = "or set split.by: subject"
COLUMN = "the column site of participants.tsv"


def site_folds(
    sites: Sites,
    labels: Mapping[str, str],
    former: Mapping[str, int] | None = None,
    label_names: Sequence[str] = LABELS,
) -> tuple[tuple[str, ...], ...]:
    """A fold for each site, in order of name. labels: of those who are divided, whoever else is in `sites`.

    former: the fold of each subject by a former division by sites; sites keep their number, new ones follow.
    label_names: the classes, each of which every site holds.
    Sites are named by their subjects in what is said, since a cell of a table may identify a patient.
    Raises SplitError: listing subjects without a site, one site alone, sites that lack a label, and names of
    sites that differ in capitals or spaces only.
    """
    members: dict[str, list[str]] = {}
    for subject in sorted(labels):
        if (site := sites.get(subject)) is not None:
            members.setdefault(site, []).append(subject)
    if problems := list(_problems(members, labels, label_names)):
        raise SplitError("\n  - ".join(["split.by: site cannot divide this cohort:", *problems]))
    before = former or {}

    def place(site: str) -> tuple[int, str]:
        return min((before[s] for s in members[site] if s in before), default=len(before)), site

    return tuple(tuple(members[site]) for site in sorted(members, key=place))


def uneven_sites(folds: Sequence[Sequence[str]]) -> list[str]:
    """What the sizes of sites allow, and who reads the results should know."""
    everyone = sum(map(len, folds))
    return [
        f"split.by: site: {_site_of(fold)} is judged by networks that learn from {everyone - len(fold)} "
        f"subjects, fewer than the {len(fold)} that they judge; pooled scores are mostly this site's. Read "
        "the table by site"
        for fold in folds
        if len(fold) > everyone - len(fold)
    ]


def _problems(
    members: Mapping[str, Sequence[str]], labels: Mapping[str, str], label_names: Sequence[str]
) -> Iterator[str]:
    if not members:
        yield f"no labelled subject has a site; write {COLUMN}, {OTHERWISE}"
        return
    of_a_site = {subject for subjects in members.values() for subject in subjects}
    if without := sorted(set(labels) - of_a_site):
        yield (
            f"{len(without)} subject(s) have no site ({named(without)}); write it in {COLUMN}, take them out "
            f"(exclude.tsv), {OTHERWISE}"
        )
    spelt: dict[str, list[str]] = {}
    for site in sorted(members):
        spelt.setdefault(" ".join(site.split()).casefold(), []).append(site)
    for alike in (names for names in spelt.values() if len(names) > 1):
        places = " and ".join(_site_of(members[site]) for site in alike)
        yield f"{places} differ in capitals or spaces only; write one hospital in one way in {COLUMN}"
    if len(members) < 2:
        yield (
            f"all {len(of_a_site)} subjects with a site are of one, and two at least are needed; add another "
            f"hospital's subjects, {OTHERWISE}"
        )
        return
    for site in sorted(members):
        found = Counter(labels[subject] for subject in members[site])
        if lacking := [label for label in label_names if not found[label]]:
            counts = " and ".join(f"{found[label]} {label}" for label in label_names)
            yield (
                f"{_site_of(members[site])} has {counts}, and a fold without {' and '.join(lacking)} cannot "
                f"be judged; give alike sites that are too small one common name in {COLUMN}, put this "
                f"site's subjects into the subset test, {OTHERWISE}"
            )


def _site_of(subjects: Sequence[str]) -> str:
    first, more = sorted(subjects)[0], len(subjects) - 1
    return f"the site of {first}" + (f" and {more} more" if more else ", its only subject,")
