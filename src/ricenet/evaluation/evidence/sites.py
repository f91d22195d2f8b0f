"""The best set site by site, and whether it tells labels apart within sites or only tells the sites.

Where hospitals have other shares of RICE, a network that recognises the hospital scores well on all subjects
pooled. Two numbers see through that: the area under the ROC curve over pairs of subjects from one site, in
which the site cannot help; and baselines refitted with every site left out, which no hospital's share helps.

Source: within-cluster concordance, van Klaveren et al. 2014 (pairs of all sites count alike);
internal-external validation, Steyerberg and Harrell 2016. Deviation: a site counts within sites from two
subjects of each label on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ricenet.evaluation.bootstrap import Counts, Resampling, Statistic, difference
from ricenet.evaluation.evidence.baselines import ScalarModel, Scalars
from ricenet.evaluation.evidence.site_record import LeftOutBaseline, Sites, SiteScores
from ricenet.evaluation.held_out import HeldOut
from ricenet.evaluation.intervals import Estimate, Probabilities, Truth, exact_bounds, or_bound, pairs_won
from ricenet.evaluation.scores import auc, macro_f1
from ricenet.vocabulary import LABELS

FEWEST_OF_A_LABEL = 2
"""Of a site, for an interval of its scores, and for its pairs to count within sites."""

Answers = Callable[[ScalarModel, HeldOut], Probabilities]
"""Each subject's p_rice (N,) by a model that was fitted to the other folds."""


def site_evidence(
    network: HeldOut,
    name: str,
    everyone: HeldOut,
    scalars: Mapping[str, Scalars],
    models: Sequence[ScalarModel],
    answers: Answers,
    seed: int,
    resamples: int,
) -> Sites | None:
    """Scores of the classification `name` by site, and the baselines with sites left out.

    everyone: the subjects of the baselines. None where participants.tsv names fewer than two sites of them.
    """
    of_network = _with_site(network, scalars)
    if of_network is None:
        return None
    known, sites = of_network
    p_rice, is_rice = known.p_rice[name], known.is_rice
    rows = tuple(
        _site_scores(site, p_rice[sites == site], is_rice[sites == site], seed, resamples)
        for site in sorted(set(sites.tolist()))
    )
    judging = judging_sites(sites, is_rice)
    pooled = area_under_curve(p_rice, is_rice, seed, resamples)
    within = area_within_sites(p_rice, is_rice, sites, seed, resamples)
    gap = gap_of_areas(p_rice, is_rice, sites, seed, resamples)
    are_sites = folds_are_sites(known.fold, sites)
    left_out, why = _left_out(everyone, scalars, models, answers, seed, resamples, are_sites)
    return Sites(
        unknown=len(network.subjects) - len(known.subjects),
        folds_are_sites=are_sites,
        rows=rows,
        pooled=pooled,
        within=within,
        gap=gap,
        judging=len(judging),
        baselines=left_out,
        why_not_left_out=why,
        verdict=verdict(pooled, within, gap, are_sites),
    )


def folds_are_sites(fold: NDArray[np.int64], sites: NDArray[np.str_]) -> bool:
    """Whether each fold (N,) holds one site (N,) and each site lies in one fold."""
    pairs = set(zip(fold.tolist(), sites.tolist(), strict=True))
    return len(pairs) == len(set(fold.tolist())) == len(set(sites.tolist()))


def judging_sites(sites: NDArray[np.str_], is_rice: Truth) -> list[str]:
    """The sites with enough subjects of each label, in order of name."""
    return [
        site
        for site in sorted(set(sites.tolist()))
        if min((of_site := is_rice[sites == site]).sum(), (~of_site).sum()) >= FEWEST_OF_A_LABEL
    ]


def area_under_curve(p_rice: Probabilities, is_rice: Truth, seed: int, resamples: int) -> Estimate | None:
    """Of all pairs; None with fewer than two subjects of a label."""
    if min(is_rice.sum(), (~is_rice).sum()) < FEWEST_OF_A_LABEL:
        return None
    (found,) = Resampling.of(is_rice, seed, resamples).estimates([auc(p_rice, is_rice)])
    return or_bound(found, exact_bounds(p_rice, is_rice)["auc"]) if found.value in (0, 1) else found


def area_within_sites(
    p_rice: Probabilities, is_rice: Truth, sites: NDArray[np.str_], seed: int, resamples: int
) -> Estimate | None:
    """Area under the ROC curve over pairs from one site, with its interval; None where no site has any.

    Subjects are drawn within site and label, so that the share of each site's pairs stays.
    """
    judging = judging_sites(sites, is_rice)
    if not judging:
        return None
    inside = np.isin(sites, judging)
    p_rice, is_rice, sites = p_rice[inside], is_rice[inside], sites[inside]
    strata = [
        np.flatnonzero((sites == site) & of_label) for site in judging for of_label in (~is_rice, is_rice)
    ]
    drawn = Resampling(tuple(strata), seed, resamples)
    (found,) = drawn.estimates([within_sites(p_rice, is_rice, sites)])
    return or_bound(found, exact_bounds(p_rice, is_rice)["auc"]) if found.value in (0, 1) else found


def gap_of_areas(
    p_rice: Probabilities, is_rice: Truth, sites: NDArray[np.str_], seed: int, resamples: int
) -> Estimate | None:
    """The area over all pairs minus that over pairs from one site; None where no site has any.

    Subjects of sites that have too few of a label are drawn within labels, all together.
    """
    judging = judging_sites(sites, is_rice)
    if not judging:
        return None
    site = np.where(np.isin(sites, judging), sites, "")
    strata = [
        np.flatnonzero((site == name) & of_label)
        for name in [*judging, ""]
        for of_label in (~is_rice, is_rice)
    ]
    drawn = [stratum for stratum in strata if len(stratum) >= FEWEST_OF_A_LABEL]
    chosen = np.sort(np.concatenate(drawn))
    p_rice, is_rice, site = p_rice[chosen], is_rice[chosen], site[chosen]
    where = [np.searchsorted(chosen, stratum) for stratum in drawn]
    # those of no judging site are of as many sites as there are of them
    alone = np.where(site == "", np.array([f" {i}" for i in range(len(site))]), site)
    gap = difference(auc(p_rice, is_rice), within_sites(p_rice, is_rice, alone))
    (found,) = Resampling(tuple(where), seed, resamples).estimates([gap])
    return found


def within_sites(p_rice: Probabilities, is_rice: Truth, sites: NDArray[np.str_]) -> Statistic:
    """How often RICE has the higher p_rice among two subjects of one site; ties count half."""
    alike = (sites[is_rice][:, np.newaxis] == sites[~is_rice]).astype(np.float64)
    wins = pairs_won(p_rice, is_rice) * alike

    def score(counts: Counts) -> NDArray[np.float64]:
        rice, recurrence = counts[:, is_rice], counts[:, ~is_rice]
        result: NDArray[np.float64] = ((rice @ wins) * recurrence).sum(axis=1) / (
            (rice @ alike) * recurrence
        ).sum(axis=1)
        return result

    return score


def verdict(pooled: Estimate | None, within: Estimate | None, gap: Estimate | None, are_sites: bool) -> str:
    """In words, whether the best set tells labels apart within sites, or tells the sites.

    gap: pooled minus within.
    """
    if pooled is None or within is None or gap is None:
        return (
            "No site has two subjects of each label, so that nothing tells what the best set knows from the "
            "site that a subject comes from."
        )
    said = f"Its AUC is {pooled.text()} over all pairs and {within.text()} over pairs from one site"
    told = "" if are_sites else " Judge it with every site left out (split.by: site)."
    if within.low > 0.5:
        less = f" The difference, {gap.text(signed=True)}, is what it knows of the site.{told}"
        return f"{said}: it tells labels apart within sites too.{less if gap.low > 0 else ''}"
    if pooled.low > 0.5 and gap.low > 0:
        return f"{said}, which is not shown to be above 0.5 and is less: what it knows is the site.{told}"
    if pooled.low > 0.5:
        return f"{said}: pairs from one site are too few to tell whether it knows more than the site."
    return f"{said}: it is not shown to know more than chance, in sites or across them."


def _with_site(held_out: HeldOut, scalars: Mapping[str, Scalars]) -> tuple[HeldOut, NDArray[np.str_]] | None:
    """Those whose site is known, and their sites; None where these are fewer than two."""
    sites = [scalars[subject].get("site") for subject in held_out.subjects]
    known = np.array([site is not None for site in sites])
    named = np.array([str(site) for site in sites if site is not None])
    if len(set(named.tolist())) < 2:
        return None
    return held_out.of_subjects(known), named


def _site_scores(site: str, p_rice: Probabilities, is_rice: Truth, seed: int, resamples: int) -> SiteScores:
    counts = dict(zip(LABELS, (int((~is_rice).sum()), int(is_rice.sum())), strict=True))
    common = {"site": site, "n": len(is_rice), "counts": counts}
    if lacking := [label for label in LABELS if counts[label] < FEWEST_OF_A_LABEL]:
        none = [label for label in lacking if not counts[label]]
        why = f"no subject with {none[0]}" if none else f"one subject with {' and with '.join(lacking)}"
        return SiteScores(**common, macro_f1=None, auc=None, why=why)
    (found,) = Resampling.of(is_rice, seed, resamples).estimates([macro_f1(p_rice, is_rice)])
    return SiteScores(
        **common,
        macro_f1=or_bound(found, exact_bounds(p_rice, is_rice)["macro_f1"]),
        auc=area_under_curve(p_rice, is_rice, seed, resamples),
    )


def _left_out(
    everyone: HeldOut,
    scalars: Mapping[str, Scalars],
    models: Sequence[ScalarModel],
    answers: Answers,
    seed: int,
    resamples: int,
    are_sites: bool,
) -> tuple[tuple[LeftOutBaseline, ...], str]:
    """Baselines in the networks' folds and with sites left out, or why that is not to be had."""
    if are_sites:
        return (), "the folds hold one site each already"
    found = _with_site(everyone, scalars)
    if found is None:
        return (), "fewer than two sites are known"
    known, sites = found
    by_site = known.with_folds(np.unique(sites, return_inverse=True)[1])
    for k in by_site.folds:
        others = by_site.is_rice[by_site.fold != k]
        if others.all() or not others.any():
            return (), "without one of the sites a single label is left"
    if known.least < FEWEST_OF_A_LABEL:
        return (), "fewer than two subjects of a label have a site"
    usable = [model for model in models if model.usable(scalars)]
    rows = _baselines(known, by_site, sites, usable, answers, seed, resamples)
    return tuple(rows), ""


def _baselines(
    known: HeldOut,
    by_site: HeldOut,
    sites: NDArray[np.str_],
    models: Sequence[ScalarModel],
    answers: Answers,
    seed: int,
    resamples: int,
) -> Iterator[LeftOutBaseline]:
    is_rice = known.is_rice
    for model in models:
        own, left_out = answers(model, known), answers(model, by_site)
        of_f1 = known.resampling(seed, resamples).estimates([macro_f1(p, is_rice) for p in (own, left_out)])
        own_f1, left_out_f1 = (
            or_bound(found, exact_bounds(p, is_rice)["macro_f1"])
            for found, p in zip(of_f1, (own, left_out), strict=True)
        )
        yield LeftOutBaseline(
            name=model.name,
            title=model.title,
            macro_f1=own_f1,
            within=area_within_sites(own, is_rice, sites, seed, resamples),
            left_out_macro_f1=left_out_f1,
            left_out_within=area_within_sites(left_out, is_rice, sites, seed, resamples),
        )
