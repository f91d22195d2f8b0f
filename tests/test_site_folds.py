"""Leave-one-site-out: every fold judges one site, and a cohort that cannot be divided so is refused."""

from __future__ import annotations

import runpy
import shutil
from itertools import combinations
from pathlib import Path

import pytest
from cohorts import read_table, write_participants, write_tiny_cohort
from typer.testing import CliRunner

from ricenet.cli import app
from ricenet.cohort.checked import CheckedCohort, CheckedSubject, write_checked_cohort, write_excluded
from ricenet.cohort.counts import Demands, doubtful_by_counts, forbidden_by_counts
from ricenet.cohort.participants import Subset, read_participants
from ricenet.cohort.settled_places import Changes, SettledPlaces, read_places
from ricenet.cohort.splits import make_splits, read_splits
from ricenet.config.params import parse_params, read_yaml
from ricenet.config.preset import change_settings
from ricenet.runtime.errors import ParamsError, SplitError
from ricenet.vocabulary import Label

REPOSITORY = Path(__file__).parents[1]
PARAMS = REPOSITORY / "params.yaml"


def of_site(
    site: str | None, recurrence: int, rice: int, first: int, subset: Subset | None = "train"
) -> list[CheckedSubject]:
    labels: list[Label] = ["recurrence"] * recurrence + ["rice"] * rice
    return [
        CheckedSubject(participant_id=f"sub-{first + i:03d}", label=label, subset=subset, site=site)
        for i, label in enumerate(labels)
    ]


OSLO, ULM, PAU = of_site("Oslo", 3, 1, 100), of_site("Ulm", 2, 2, 200), of_site("Pau", 1, 4, 300)
COHORT = [*ULM, *PAU, *OSLO]


def names(subjects: list[CheckedSubject]) -> tuple[str, ...]:
    return tuple(s.participant_id for s in subjects)


def settled(folds: tuple[tuple[str, ...], ...], by: str = "site") -> SettledPlaces:
    return SettledPlaces.model_validate(
        {"cohort": "data/mine", "seed": 7, "test_fraction": 0.0, "by": by, "folds": folds, "test": ()}
    )


def test_each_fold_is_judged_on_one_site_and_trained_on_the_others() -> None:
    splits = make_splits(COHORT, 5, 0.0, 7, by="site")
    assert splits.folds == (names(OSLO), names(PAU), names(ULM))
    site_of = {s.participant_id: s.site for s in COHORT}
    for k in range(3):
        judged = {site_of[s] for s in splits.validation_subjects(k)}
        learnt = {site_of[s] for s in splits.training_subjects(k)}
        assert len(judged) == 1 and not judged & learnt


def test_of_three_labels_every_site_holds_each_and_a_site_that_lacks_one_is_named() -> None:
    stable = [
        CheckedSubject(participant_id=f"sub-9{i:02d}", label="stable", subset="train", site=site)
        for i, site in enumerate(("Oslo", "Ulm", "Pau"))
    ]
    names_of = ("recurrence", "rice", "stable")
    splits = make_splits([*COHORT, *stable], 5, 0.0, 7, by="site", label_names=names_of)
    assert splits.folds == tuple(
        (*names(of), s.participant_id)
        for of, s in zip((OSLO, PAU, ULM), (stable[0], stable[2], stable[1]), strict=True)
    )
    with pytest.raises(SplitError) as refused:
        make_splits([*COHORT, *stable[:2]], 5, 0.0, 7, by="site", label_names=names_of)
    said = (
        "the site of sub-300 and 4 more has 1 recurrence and 4 rice and 0 stable, and a fold without stable"
    )
    assert said in str(refused.value) and str(refused.value).count("cannot be judged") == 1


def test_neither_order_nor_seed_nor_number_of_folds_changes_them() -> None:
    expected = make_splits(COHORT, 5, 0.0, 7, by="site")
    assert make_splits(COHORT[::-1], 2, 0.0, 8, by="site") == expected


def test_the_test_set_is_drawn_as_ever_and_may_be_a_site_of_its_own() -> None:
    drawn = [s.model_copy(update={"subset": None}) for s in COHORT]
    assert make_splits(drawn, 2, 0.2, 7, by="site").test == make_splits(drawn, 2, 0.2, 7).test
    external = of_site("Graz", 2, 0, 400, "test")
    splits = make_splits([*COHORT, *external], 2, 0.0, 7, by="site")
    assert splits.test == names(external)
    assert len(splits.folds) == 3, "a site of one label may be the test set"


def test_who_joins_joins_the_site_s_fold_and_a_new_site_comes_last() -> None:
    before = make_splits([*ULM, *PAU], 2, 0.0, 7, by="site")
    grown = [*COHORT, *of_site("Pau", 1, 0, 350)]
    after = make_splits(grown, 2, 0.0, 7, settled(before.folds), by="site")
    assert after.folds == ((*names(PAU), "sub-350"), names(ULM), names(OSLO))
    assert not Changes.between(settled(before.folds), settled(after.folds)).moved


def test_folds_by_subject_leave_no_trace_in_folds_by_site_and_the_other_way_round() -> None:
    by_site = make_splits(COHORT, 2, 0.0, 7, by="site")
    by_subject = make_splits(COHORT, 3, 0.0, 7)
    assert make_splits(COHORT, 2, 0.0, 7, settled(by_subject.folds[::-1], "subject"), by="site") == by_site
    assert make_splits(COHORT, 3, 0.0, 7, settled(by_site.folds)) == by_subject


def test_the_record_says_by_what_it_was_divided_where_that_is_not_as_before(tmp_path: Path) -> None:
    for by in ("subject", "site"):
        written = settled((("sub-001",), ("sub-002",)), by)
        written.write(tmp_path / "folds.json")
        assert read_places(tmp_path / "folds.json") == written
        assert ('"by"' in (tmp_path / "folds.json").read_text()) == (by == "site")


FAULTS: dict[str, tuple[list[CheckedSubject], str, str]] = {
    "no site column": (
        [s.model_copy(update={"site": None}) for s in COHORT],
        "no labelled subject has a site",
        "write the column site of participants.tsv",
    ),
    "a subject without a site": (
        [*COHORT, *of_site(None, 1, 0, 400)],
        r"1 subject\(s\) have no site \(sub-400\)",
        "exclude.tsv",
    ),
    "fewer sites than two": (ULM, "all 4 subjects with a site are of one", "add another hospital's subjects"),
    "a site of one label": (
        [*COHORT, *of_site("Graz", 0, 3, 400)],
        "the site of sub-400 and 2 more has 0 recurrence and 3 rice, and a fold without recurrence",
        "one common name",
    ),
    "a site of one subject": (
        [*COHORT, *of_site("Graz", 1, 0, 400)],
        "the site of sub-400, its only subject, has 1 recurrence and 0 rice",
        "into the subset test",
    ),
    "one hospital in two spellings": (
        [*COHORT, *of_site("ulm ", 2, 2, 400)],
        "the site of sub-200 and 3 more and the site of sub-400 and 3 more differ in capitals or spaces",
        "one hospital in one way",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_divided_by_site_is_refused_with_who_and_what_to_do(fault: str) -> None:
    cohort, found, remedy = FAULTS[fault]
    with pytest.raises(SplitError, match=found) as raised:
        make_splits(cohort, 2, 0.0, 7, by="site")
    assert remedy in str(raised.value)
    assert "split.by: subject" in str(raised.value) or fault.startswith("one hospital")
    assert not any(site in str(raised.value) for site in ("Oslo", "Ulm", "ulm", "Pau", "Graz"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    cohort = [*COHORT, *of_site(None, 1, 0, 400), *of_site("Graz", 1, 0, 500), *of_site("Linz", 0, 1, 600)]
    with pytest.raises(SplitError) as raised:
        make_splits(cohort, 2, 0.0, 7, by="site")
    assert [s for s in ("sub-400", "sub-500", "sub-600") if s not in str(raised.value)] == []


def test_a_subject_in_two_sites_is_refused_by_the_table_and_by_the_division(tmp_path: Path) -> None:
    header = "participant_id\tlabel\tlabel_source\tsubset\tsite\n"
    row = "sub-001\trice\tbiopsy\ttrain\t"
    (tmp_path / "participants.tsv").write_text(f"{header}{row}Oslo\n{row}Ulm\n", encoding="utf-8")
    (problem,) = read_participants(tmp_path / "participants.tsv").problems
    assert "duplicate subject: listed on lines 2, 3" in str(problem)
    with pytest.raises(SplitError, match="subject sub-200 is in the cohort 2 times"):
        make_splits([*COHORT, ULM[0].model_copy(update={"site": "Oslo"})], 2, 0.0, 7, by="site")


def demands(by: str = "site", **changed: object) -> Demands:
    sets = {"dose": frozenset[str]()}
    return Demands(**{"folds": 2, "test_fraction": 0.0, "seed": 7, "volumes": sets, "by": by, **changed})  # type: ignore[arg-type]


def test_the_check_foretells_what_the_division_would_refuse() -> None:
    cohort, found, _ = FAULTS["a site of one label"]
    assert found in forbidden_by_counts(cohort, demands())[0]
    assert forbidden_by_counts(COHORT, demands()) == []


def test_fitted_fusion_needs_both_labels_beside_any_two_sites() -> None:
    (problem,) = forbidden_by_counts([*OSLO, *ULM], demands(fitted=["dose"]))
    assert "holds folds 0 and 1 out at once" in problem and problem.endswith("or set split.by: subject")
    assert all(len({s.label for s in site}) == 2 for site in (OSLO, ULM, PAU))
    assert len(list(combinations((OSLO, ULM, PAU), 2))) == 3
    assert forbidden_by_counts(COHORT, demands(fitted=["dose"])) == []


def test_a_site_larger_than_all_others_together_is_told() -> None:
    large = [*ULM, *of_site("Oslo", 4, 4, 100)]
    (told,) = doubtful_by_counts(large, "site")
    assert "the site of sub-100 and 7 more" in told and "4 subjects, fewer than the 8" in told
    assert doubtful_by_counts(large) == [] and doubtful_by_counts(COHORT, "site") == []


def test_harmonisation_by_site_needs_two_sites() -> None:
    asked = demands("subject", by_site=True)
    (problem,) = forbidden_by_counts(ULM, asked)
    assert (
        "names 1 among the subjects of the folds" in problem
        and "set evidence.harmonisation to none" in problem
    )
    assert forbidden_by_counts(COHORT, asked) == []
    assert forbidden_by_counts(ULM, demands("subject")) == []


def test_other_divisions_are_not_asked_for_where_there_is_one_alone() -> None:
    content = read_yaml(PARAMS)
    content["split"]["by"] = "site"
    parse_params(content, "params.yaml")
    content["evidence"]["repeat_fold_seeds"] = [1, 2]
    with pytest.raises(ParamsError, match=r"evidence.repeat_fold_seeds: \[1, 2\] asks .* split.by: site"):
        parse_params(content, "params.yaml")
    content["evidence"]["repeat_fold_seeds"], content["split"]["by"] = [], "hospital"
    with pytest.raises(ParamsError, match=r"split\.by: Input should be 'subject' or 'site'"):
        parse_params(content, "params.yaml")


# --- from the command line ---


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(PARAMS, tmp_path)
    changes = {"execution": {"backend": "serial"}, "split": {"by": "site"}}
    change_settings(tmp_path / "params.yaml", changes)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_says_which_site_cannot_be_judged_before_anything_is_computed(project: Path) -> None:
    root = write_tiny_cohort(project / "data/mine", subjects=8)
    sites = {"recurrence": "A", "rice": "B"}
    write_participants(root, [row | {"site": sites[row["label"]]} for row in read_table(root)])
    result = CliRunner().invoke(app, ["check", "data/mine"])
    assert result.exit_code == 1
    assert "the site of sub-001 and 2 more has 3 recurrence and 0 rice" in result.output
    write_participants(root, [r | {"site": "AABBAABB"[i]} for i, r in enumerate(read_table(root))])
    result = CliRunner().invoke(app, ["check", "data/mine"])
    assert result.exit_code == 0, result.output


def test_the_stage_makes_a_fold_of_each_site_and_keeps_their_numbers(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = str(REPOSITORY / "src/stages/split.py")
    for cohort in ([*PAU, *ULM], COHORT):
        write_checked_cohort(CheckedCohort.of("data/mine", cohort), project / "work/cohort/cohort.json")
        write_excluded([], project / "work/cohort/excluded.json")
        runpy.run_path(stage, run_name="__main__")
    said = capsys.readouterr().err
    assert "13 subjects in 3 folds, one a site, 0 in the test set" in said
    assert "4 joined, 0 left, 0 moved" in said
    assert read_splits(project / "work/splits/splits.json").folds == (names(PAU), names(ULM), names(OSLO))
    places = read_places(project / "models/folds.json")
    assert places is not None and places.by == "site"
