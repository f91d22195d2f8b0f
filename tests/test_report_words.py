"""What the report says in words: p-values, ROC, checklists, methods, model card."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_evidence import VERDICT, estimate, evidence, robustness
from small_report import finished

from ricenet.evaluation.intervals import Estimate
from ricenet.report.checklists import AUTHORS, Item, checklists
from ricenet.report.facts import SINGLE_NETWORKS, study_facts
from ricenet.report.model_card import model_card_sections
from ricenet.report.page import estimate_text
from ricenet.report.perturbation_table import perturbation_rows
from ricenet.report.reference_standard import reference_standard
from ricenet.report.results import read_results
from ricenet.report.sentences import SECTIONS, abstention_sentence
from ricenet.screening.guards.result import guards_verdict
from ricenet.tracking.promotion import FORCED_PAST, REASON

PROJECT = Path(__file__).parents[1]


def test_a_constant_answer_has_text_without_an_interval():
    assert estimate_text(Estimate(value=0.5, low=0.5, high=0.5, method="exact")) == "0.50"
    assert estimate_text(estimate(0.2), signed=True).replace("\xa0", " ") == "+0.20 (+0.10 to +0.30)"


@pytest.fixture(scope="module")
def filled() -> dict[str, list[Item]]:
    """The checklists of the small project."""
    results = read_results(finished(), seed=7)
    standard = reference_standard(results.splits, results.participants, seed=7, resamples=100)
    return checklists(study_facts(results, standard))


def numbers(items):
    return [item.number for item in items]


def test_checklists_are_complete_and_lead_to_sections_or_to_the_authors(filled):
    claim, tripod, stard, probast, future = filled.values()
    assert numbers(claim) == [str(i) for i in range(1, 45)]
    # 27 items with their parts, 52 in all; 40 with theirs, 48 in all
    assert (len(tripod), len(stard)) == (52, 48)
    for items, last in ((tripod, 27), (stard, 40)):
        mains = dict.fromkeys(int(re.match(r"\d+", number)[0]) for number in numbers(items))
        assert list(mains) == list(range(1, last + 1))
    # 16 questions of development, 18 of evaluation, by domain
    for part, domains in (("dev", (3, 4, 4, 5)), ("eval", (3, 4, 4, 7))):
        asked = [f"{part} {d}.{i}" for d, last in enumerate(domains, 1) for i in range(1, last + 1)]
        assert [number for number in numbers(probast) if number.startswith(part)] == asked
    # 30 recommendations
    of = {"F": 3, "Un": 4, "T": 6, "Us": 5, "R": 3, "E": 2, "G": 7}
    assert numbers(future) == [f"{letter}{i}" for letter, last in of.items() for i in range(1, last + 1)]
    for items in filled.values():
        for item in items:
            assert item.topic
            assert set(item.sections) <= set(SECTIONS)
            assert item.sections or item.note
            assert not re.search(r"[{}]|;\s*$|^;|; ;", item.note), item
    assert claim[43].note == AUTHORS


def test_items_are_filled_from_the_results(filled):
    found = {title: {item.number: item for item in items} for title, items in filled.items()}
    assert found["STARD-AI, 2025"]["15b"].note == "8 in cross-validation, 2 for the test, 1 excluded"
    assert found["PROBAST+AI, 2025"]["eval 4.5"].note.startswith("before training 1 of 2 passed")
    future = found["FUTURE-AI, 2025"]["R3"]
    assert list(future.sections) == ["robustness"] and "Most answers change under" in future.note


def test_a_fact_that_is_not_known_leaves_the_item_to_the_authors(filled):
    future = {item.number: item for item in filled["FUTURE-AI, 2025"]}
    # no model of the small project has voted
    assert future["T4"].sections == {} and future["T4"].note == "when to audit is for the authors"


def test_every_file_that_a_checklist_names_exists(filled):
    notes = " ".join(item.note for items in filled.values() for item in items)
    named = re.findall(r"docs/[\w-]+\.md", notes)
    assert named
    for name in named:
        assert (PROJECT / name).is_file()


def test_guards_are_counted_with_the_worst_first():
    assert guards_verdict(evidence("x").guards) == "before training 1 of 2 passed, 1 warning"


def test_a_vote_that_answers_nobody_is_said():
    made = evidence("x")
    silent = made.abstention["dose"].model_copy(update={"error": None, "threshold": None})
    made = made.model_copy(update={"abstention": {**made.abstention, "dose": silent}})
    assert abstention_sentence(made, "dose").endswith("aiming at 10 % of wrong answers, answers nobody.")
    assert "No confidence reaches the target error of 10 %" in model_card_sections(made, "dose")


def test_perturbations_are_rows_with_the_sets_that_they_apply_to():
    rows = {row.title: set(row.effects) for row in perturbation_rows(robustness())}
    assert next(iter(rows)) == "noise on the MRI, 0.1 SD"
    assert "dose" not in rows["noise on the MRI, 0.1 SD"]
    assert rows["dose shifted, 3 mm"] == {"dose", "post_op+dose", "event+dose", "post_op+event+dose"}


def test_the_model_card_tells_use_scores_verdict_and_limits():
    card = model_card_sections(evidence("ab" * 32), "post_op", robustness(), synthetic=True)
    titles = re.findall(r"^## (.*)$", card, re.M)
    assert titles == [
        "Intended use", "Data", "Scores", "Against simple baselines", "Calibration and three-way vote",
        "Robustness", "Guards against leaks", "Limits",
    ]  # fmt: skip
    for text in (
        "Research only; not a medical device", "synthetic phantoms", "8 subjects in cross-validation",
        "abababababab", "| macro-F1 | 0.75 (0.45 to 0.95) |", VERDICT,
        "Calibration of new cases: temperature 0.50: 0.10 becomes 0.01, 0.90 becomes 0.99.",
        "an answer from a confidence of 0.80", "noise on the MRI, 0.1 SD, a share of 0.12",
        "- label leakage: warning", "no outside cohort was tested",
        "The chance level of the macro-F1 is 0.50; always naming the commoner label gives 0.33",
        "Sets of labels aimed at 75 % hold the true one: recurrence 0.75 (0.65 to 0.85), rice 1.00",
        SINGLE_NETWORKS, f"`{FORCED_PAST}` and `{REASON}`",
    ):  # fmt: skip
        assert text in card
    assert "sub-" not in card


def test_a_model_card_without_robustness_says_so():
    assert "## Robustness\n\nNot examined." in model_card_sections(evidence("x"), "dose")


def test_a_model_card_needs_no_heavy_package():
    heavy = ("torch", "mlflow", "matplotlib", "jinja2", "monai", "nibabel", "scipy", "sklearn")
    code = f"import sys, ricenet.report.model_card; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
