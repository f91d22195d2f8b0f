"""Who is in which fold or in the test set already: the record from which the next division starts.

It names subjects by the cohort's own identifiers, without their labels, so that it may be kept in git with
the parameters: from the same record and the same cohort follows the same division, on any machine.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ricenet.config.types import DivideBy
from ricenet.runtime.errors import SplitError
from ricenet.runtime.files import MOST_TEXT_BYTES, regular_bytes, write_json
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError

PLACES_FILE = Path("models/folds.json")


class SettledPlaces(Record):
    """A division without labels. cohort: its folder. seed, test_fraction: by which it was dealt.

    by: what its folds hold; written where that is sites.
    """

    cohort: str
    seed: int
    test_fraction: float
    by: DivideBy = "subject"
    folds: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]

    @property
    def fold_of(self) -> dict[str, int]:
        """The fold of everyone outside the test set."""
        return {subject: k for k, fold in enumerate(self.folds) for subject in fold}

    @property
    def places(self) -> dict[str, str]:
        """The place of everyone, in words."""
        return {subject: f"fold {fold}" for subject, fold in self.fold_of.items()} | dict.fromkeys(
            self.test, "the test set"
        )

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically."""
        # a record of folds by subject is as those of before
        write_json(path, self.model_dump(mode="json", exclude={"by"} if self.by == "subject" else None))


@dataclass(frozen=True)
class Changes:
    """From one division to the next. moved: subject, former place, place. joined, left: subjects."""

    moved: tuple[tuple[str, str, str], ...]
    joined: tuple[str, ...]
    left: tuple[str, ...]

    @classmethod
    def between(cls, former: SettledPlaces, now: SettledPlaces) -> Changes:
        """What is not where it was."""
        before, after = former.places, now.places
        both = sorted(before.keys() & after.keys())
        return cls(
            moved=tuple((s, before[s], after[s]) for s in both if before[s] != after[s]),
            joined=tuple(sorted(after.keys() - before.keys())),
            left=tuple(sorted(before.keys() - after.keys())),
        )

    @property
    def text(self) -> str:
        """For the log; whoever moved is named with both places."""
        moved = "; ".join(f"{subject} from {before} to {after}" for subject, before, after in self.moved)
        counts = f"{len(self.joined)} joined, {len(self.left)} left, {len(self.moved)} moved"
        return f"{counts}: {moved}" if moved else counts


def read_places(path: Path = PLACES_FILE) -> SettledPlaces | None:
    """Read the record; None where there is none yet.

    Raises SplitError: it is not such a record (a link that leads nowhere neither), or has a subject in two
    places. FormatError: of another version.
    """
    if not path.exists() and not path.is_symlink():
        return None
    remedy = f"restore it from git (`git checkout -- {path}`), or delete it to deal everyone anew"
    try:
        content = regular_bytes(path, MOST_TEXT_BYTES)
        found = SettledPlaces.parse(content, path.name, remedy[0].upper() + remedy[1:])
    except (ValidationError, JsonError, OSError):
        raise SplitError(f"{path} is not a record of who is in which fold; {remedy}") from None
    counts = Counter(subject for place in (*found.folds, found.test) for subject in place)
    if repeated := sorted(subject for subject, n in counts.items() if n > 1):
        raise SplitError(f"{path}: subject {repeated[0]} is in {counts[repeated[0]]} places; {remedy}")
    return found
