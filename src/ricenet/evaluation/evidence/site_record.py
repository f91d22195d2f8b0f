"""What evidence.json holds of a cohort's sites."""

from __future__ import annotations

from ricenet.evaluation.intervals import Estimate
from ricenet.runtime.records import Record


class SiteScores(Record):
    """The best set on the held-out subjects of one site. counts: of the n, by label.

    None: not computable, for the reason in `why`.
    """

    site: str
    n: int
    counts: dict[str, int]
    macro_f1: Estimate | None
    auc: Estimate | None
    why: str = ""


class LeftOutBaseline(Record):
    """A baseline in the networks' folds, and where every site is judged by a regression of the others.

    within, left_out_within: area under the ROC curve of pairs from one site alone; None as in `Sites`.
    """

    name: str
    title: str
    macro_f1: Estimate
    within: Estimate | None
    left_out_macro_f1: Estimate
    left_out_within: Estimate | None


class Sites(Record):
    """Scores by site, and what of them is left once sites cannot tell.

    unknown: held-out subjects without a site; they have no part in any of this. folds_are_sites: whether each
    fold held one site out. pooled, within: area under the ROC curve of all pairs, and of pairs from one site
    alone, over the `judging` sites with two subjects of each label; None where there is no such site.
    gap: the first minus the second, of the same resamples.
    why_not_left_out: why baselines are not shown with sites left out; "" where they are.
    """

    unknown: int
    folds_are_sites: bool
    rows: tuple[SiteScores, ...]
    pooled: Estimate | None
    within: Estimate | None
    gap: Estimate | None
    judging: int
    baselines: tuple[LeftOutBaseline, ...] = ()
    why_not_left_out: str = ""
    verdict: str
