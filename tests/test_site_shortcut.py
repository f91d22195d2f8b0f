"""The guard of sites: labels that depend on where a subject was scanned, and images that tell where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from cohorts import read_table, write_participants
from guarded_cohorts import BRAIN, guards_of, head, overwrite_channel, standardised

from ricenet.screening.guards.appearance import appearance
from ricenet.screening.guards.site_shortcut import LEAST_P, accuracy, dependence, held_out_ridge, told_by


@pytest.fixture
def project(guarded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(guarded, tmp_path / "project"))


def set_column(project: Path, name: str, cell: Callable[[str, int], str]) -> dict[str, str]:
    """cell: of a label and the subject's number among those of its label. Returns the column by subject."""
    seen: dict[str, int] = {}
    rows = []
    for row in read_table(project / "data"):
        index = seen.setdefault(row["label"], 0)
        seen[row["label"]] += 1
        rows.append(row | {name: cell(row["label"], index)})
    write_participants(project / "data", rows)
    return {row["participant_id"]: row[name] for row in rows}


def mostly(label: str, index: int) -> str:
    """Of one site ten of twelve, of the other two."""
    return "St Olav" if (label == "rice") == (index >= 2) else "Haukeland"


def scan_by_site(project: Path, site_of: dict[str, str]) -> None:
    """A scanner at one site that compresses bright tissue."""
    for subject, site in site_of.items():
        for channel, name in enumerate(("post_op", "event")):
            own = head(subject, name)
            image = np.tanh(own) if site == "Haukeland" else own
            overwrite_channel(project, subject, channel, standardised(image * BRAIN + 5 * BRAIN))


def test_a_scanner_that_tells_the_label_is_found_in_table_and_images(project: Path) -> None:
    scan_by_site(project, set_column(project, "site", mostly))
    result = guards_of(project)["site_shortcut"]
    assert result.outcome == "warning"
    assert "the label depends on the site (p 0.00" in result.found
    assert "17% to 83% of a site's subjects" in result.found
    assert "and the images tell the site: balanced accuracy" in result.found
    assert "split.by: site" in result.remedy
    assert not any(name in result.model_dump_json() for name in ("Olav", "Haukeland"))


def test_images_that_do_not_show_the_site_are_told_apart_from_those_that_do(project: Path) -> None:
    set_column(project, "site", mostly)
    result = guards_of(project)["site_shortcut"]
    assert result.outcome == "warning"
    assert "the images are not shown to tell the site" in result.found


def test_a_scanner_s_look_alone_is_no_shortcut(project: Path) -> None:
    scan_by_site(project, set_column(project, "site", lambda _, i: "St Olav" if i % 2 else "Haukeland"))
    result = guards_of(project)["site_shortcut"]
    assert result.outcome == "passed"
    assert "not shown to depend on site" in result.found


@pytest.mark.parametrize("cell", ["n/a", "Oslo"])
def test_without_two_sites_there_is_nothing_to_look_at(project: Path, cell: str) -> None:
    set_column(project, "site", lambda *_: cell)
    assert guards_of(project)["site_shortcut"].outcome == "not applicable"


def test_a_scanner_is_a_source_as_a_site_is(project: Path) -> None:
    set_column(project, "site", lambda _, i: f"site {i % 2}")
    set_column(project, "scanner", lambda label, _: label[::-1])
    assert "the label depends on the scanner" in guards_of(project)["site_shortcut"].found


# --- the tests themselves ---


def labelled(table: dict[str, tuple[int, int]]) -> tuple[dict[str, str], dict[str, str]]:
    """Sources and labels of as many subjects. table: recurrence and RICE by source."""
    rows = [
        (source, label)
        for source, counts in table.items()
        for label, n in zip(("recurrence", "rice"), counts, strict=True)
        for _ in range(n)
    ]
    names = [f"sub-{i:03d}" for i in range(len(rows))]
    return (
        dict(zip(names, (source for source, _ in rows), strict=True)),
        dict(zip(names, (label for _, label in rows), strict=True)),
    )


def test_the_p_of_two_sites_is_that_of_all_ways_to_assign_labels() -> None:
    source, labels = labelled({"A": (5, 1), "B": (1, 4)})
    names, rice = list(source), sum(label == "rice" for label in labels.values())

    def probability(at_a: int) -> float:
        """Share of all assignments of RICE with so many of them at A."""
        every = list(combinations(names, rice))
        return sum(sum(source[s] == "A" for s in chosen) == at_a for chosen in every) / len(every)

    given = probability(1)
    slow = sum(p for k in range(6) if (p := probability(k)) <= given * (1 + 1e-9))
    assert dependence("site", source, labels).p == pytest.approx(slow)
    assert dependence("site", source, labels, tested=3).p == pytest.approx(3 * slow)


def test_shares_are_of_sites_with_enough_subjects() -> None:
    source, labels = labelled({"A": (8, 2), "B": (3, 7), "C": (0, 2)})
    found = dependence("site", source, labels)
    assert (found.label, found.shares) == ("rice", pytest.approx((0.2, 0.7)))


def test_cohorts_without_a_shortcut_are_warned_of_less_than_once_in_a_hundred() -> None:
    rng = np.random.default_rng(4)
    warned = 0
    for _ in range(1000):
        names = [f"sub-{i:02d}" for i in range(60)]
        source = dict(zip(names, rng.choice(["A", "B"], 60).tolist(), strict=True))
        labels = dict(zip(names, rng.choice(["rice", "recurrence"], 60, p=[0.4, 0.6]).tolist(), strict=True))
        warned += dependence("site", source, labels).p <= LEAST_P
    # of 1000, a share of 0.005 gives more than 12 once in a thousand
    assert warned <= 12


def test_each_answer_is_that_of_a_regression_on_the_other_folds() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(6)
    features, source = rng.normal(2.0, 3.0, size=(20, 4)), rng.permutation([0, 0, 1, 2] * 5)
    taken = held_out_ridge(features)
    told = np.zeros(20, np.int64)
    for i in range(20):
        training = taken[i] != 0
        assert not training[i] and 14 <= training.sum() <= 16
        x, mean, sd = features[training], features[training].mean(axis=0), features[training].std(axis=0)
        answers = []
        for name in range(3):
            is_name = (source == name).astype(float)
            fitted = Ridge(alpha=4.0).fit((x - mean) / sd, is_name[training])
            answers.append(fitted.predict((features[[i]] - mean) / sd)[0] / is_name.mean())
            assert taken[i] @ is_name == pytest.approx(answers[-1] * is_name.mean())
        told[i] = int(np.argmax(answers))
    slow = np.mean([(told[source == name] == name).mean() for name in range(3)])
    assert accuracy(taken, source) == pytest.approx(slow)


def test_what_shows_the_label_alone_does_not_show_the_site() -> None:
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1], 30)
    source = (rng.uniform(size=60) < np.where(label, 0.85, 0.15)).astype(np.int64)
    lesion = rng.normal(size=(60, 3)) + 3 * label[:, np.newaxis]
    scanner = rng.normal(size=(60, 3)) + 3 * source[:, np.newaxis]
    by_lesion, by_scanner = told_by(lesion, source, label), told_by(scanner, source, label)
    assert by_lesion.accuracy > 0.7 and not by_lesion.is_shown, "it tells the site by the label"
    assert by_scanner.accuracy > 0.9 and by_scanner.is_shown
    assert by_scanner.guessing == 0.5


def test_what_a_scanner_changes_is_seen_in_the_numbers_that_are_for_it() -> None:
    brain = np.zeros((16, 16, 16), bool)
    brain[3:13, 3:13, 3:13] = True
    rng = np.random.default_rng(1)
    x = np.indices(brain.shape)[0]
    plain = rng.normal(size=brain.shape) * brain
    tilted = plain + 0.5 * (x - 8) * brain
    smooth = (plain + np.roll(plain, 1, 0) + np.roll(plain, -1, 0)) / 3
    images = {"plain": plain, "tilted": tilted, "smooth": smooth, "squashed": np.tanh(plain)}
    of = {name: appearance(np.asarray(image, np.float16), brain) for name, image in images.items()}
    assert of["tilted"]["trend x"] > 0.6 > abs(of["plain"]["trend x"]) + 0.5
    assert of["smooth"]["bends"] < 0.9 * of["plain"]["bends"]
    assert of["smooth"]["steps"] < 0.95 * of["plain"]["steps"]
    assert of["squashed"]["moment 4"] < of["plain"]["moment 4"] - 0.5
    assert of["plain"]["quantile 0.5"] == pytest.approx(float(np.median(plain[brain])), abs=0.01)


def test_an_image_without_any_difference_has_finite_numbers() -> None:
    found = appearance(np.zeros((6, 6, 6), np.float16), np.ones((6, 6, 6), bool))
    assert np.isfinite(list(found.values())).all()
    one = np.zeros((6, 6, 6), bool)
    one[2, 2, 2] = True
    assert np.isfinite(list(appearance(np.ones((6, 6, 6)), one).values())).all()
