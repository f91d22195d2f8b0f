"""The result of an external validation: aggregates alone, with a digest over all of them.

The digest finds accidents and casual edits. It is no signature: whoever changes a result and computes the
digest anew is not found, since no key is involved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError

from ricenet.evaluation.intervals import Estimate
from ricenet.evaluation.metrics import Confusion
from ricenet.runtime.errors import StudyError
from ricenet.runtime.files import MOST_TEXT_BYTES, content_digest, regular_bytes
from ricenet.runtime.records import Record
from ricenet.runtime.strict_json import JsonError
from ricenet.study.package_record import Digest

PLANNED, LATER = "in the sealed plan", "decided after the package was sealed"

PERFORMANCE, AS_GIVEN, RECALIBRATED = "performance", "calibration as given", "calibration once recalibrated"
THREE_WAY, SETS = "three-way vote", "sets of labels"
"""Parts of an analysis."""

OVERLAP = (
    "not examined: to find subjects of both hospitals, the package would have to hold fingerprints of "
    "training scans, by which whoever has a scan could tell whether that patient was trained on"
)

_AGAIN = "Have it sent again as `ricenet validate` wrote it"

Counted = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^<\d+$")]
"""A number of subjects, or that it is below the limit."""


class ResultNumber(Record):
    """One number. part: of the analysis; name: of the number. withheld: why there is none, in words."""

    part: str
    name: str
    planned: bool
    estimate: Estimate | None = None
    withheld: str = ""

    @property
    def decided(self) -> str:
        """When it was decided to compute it."""
        return PLANNED if self.planned else LATER


class GroupResult(Record):
    """One group of a column. mark: empty, or why nothing of it is shown. n: by label."""

    group: str
    mark: str = ""
    n: dict[str, int] = Field(default_factory=dict)
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    auc: Estimate | None = None


class SubgroupResult(Record):
    """One column. withheld: why nothing of it is shown."""

    column: str
    planned: bool
    groups: tuple[GroupResult, ...] = ()
    withheld: str = ""

    @property
    def decided(self) -> str:
        """As of a number."""
        return PLANNED if self.planned else LATER


class Evaluation(Record):
    """One evaluation with the package there. also: what was asked for beyond the plan."""

    utc: str
    same_cohort: bool
    also: tuple[str, ...]


class StudyResult(Record):
    """All that goes back. seal, plan, ensemble: of the package. cohort: a salted digest, the same for the
    same subjects and files in the same hospital. n: judged, by label. evaluations: with this package there,
    this one last. roc: (1 - specificity, sensitivity) in coarse steps. outside_ranges: how many lie outside
    the training subjects' ranges; None: not compared. overlap: what is known of subjects in both cohorts.
    """

    seal: Digest
    plan: Digest
    ensemble: Digest
    modality_set: str
    model: str
    version: str
    primary: str
    smallest_cell: int
    sealed_utc: str
    cohort: str
    synthetic: bool
    n: dict[str, Counted]
    left_out: dict[str, Counted]
    outside_ranges: Counted | None
    confusion: Confusion | None
    numbers: tuple[ResultNumber, ...]
    roc: tuple[tuple[float, float], ...]
    subgroups: tuple[SubgroupResult, ...]
    evaluations: Annotated[tuple[Evaluation, ...], Field(min_length=1)]
    overlap: str
    versions: dict[str, str]
    other_versions: tuple[str, ...]
    digest: str = ""

    @property
    def evaluation(self) -> int:
        """How many evaluations of this cohort there were, this one included."""
        return sum(one.same_cohort for one in self.evaluations)

    def number(self, part: str, name: str) -> ResultNumber | None:
        """A number, where it was computed or withheld."""
        return next((n for n in self.numbers if (n.part, n.name) == (part, name)), None)

    def with_digest(self) -> Self:
        """With the digest of its content."""
        return self.model_copy(update={"digest": self._expected})

    @property
    def is_intact(self) -> bool:
        """Whether its digest is that of its content."""
        return self.digest == self._expected

    @property
    def _expected(self) -> str:
        return content_digest(self.model_dump(mode="json", exclude={"digest"}))


def read_study_result(path: Path) -> StudyResult:
    """A result as it was sent.

    Raises StudyError: no result, or one that was changed. FormatError: of another version of ricenet.
    OSError.
    """
    content = regular_bytes(path, MOST_TEXT_BYTES)
    if content.startswith(b"PK"):
        raise StudyError(
            f"{path.name} is an archive, such as a package: expected result.json of `ricenet validate`"
        )
    try:
        result = StudyResult.parse(content, path.name, _AGAIN)
    except (JsonError, ValidationError):
        raise StudyError(
            f"{path.name} is no result of `ricenet validate`, or not all of one. {_AGAIN}"
        ) from None
    if not result.is_intact:
        raise StudyError(f"{path.name} was changed since it was written (its digest does not fit). {_AGAIN}")
    return result
