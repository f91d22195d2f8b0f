"""The majority vote, and the ledger of evaluations on the test set."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ricenet.evaluation.evidence.calibration_record import Recalibration
from ricenet.inference.test_ledger import (
    LedgerRow,
    gate_of_earlier_evaluation,
    identify_test_set,
    ledger_path,
    read_ledger,
    record_evaluation,
)
from ricenet.inference.test_vote import count_votes, user_at_host, vote_table
from ricenet.inference.three_way import DecisionThreshold, three_way_answer
from ricenet.runtime.errors import ResultError

SUBJECTS = ["sub-001", "sub-002", "sub-003", "sub-004"]
LABELS = ["rice", "recurrence", "rice", "recurrence"]
P_RICE_FOLDS = np.array(
    [
        [0.6, 0.6, 0.6, 0.1, 0.1],  # three of five, though the mean is 0.4
        [0.9, 0.9, 0.4, 0.4, 0.4],  # two of five, though the mean is 0.6
        [0.5, 0.5, 0.5, 0.0, 0.0],  # the threshold itself counts as rice
        [0.7, 0.7, 0.7, 0.7, 0.7],
    ]
)
OLD_LEDGER = (
    "utc\tmodality_set\tmodel\tversion\tdigest12\tn\tmacro_f1\tlook\ttest_set\n"
    "2026-01-01T00:00:00+00:00\tdose\trice-net-dose\t9\tffffffffffff\t2\t0.500000\t1\tone\n"
)
"""As earlier versions wrote it, before there was a gate."""


def test_the_majority_of_folds_decides_and_not_their_mean() -> None:
    votes = count_votes(SUBJECTS, LABELS, P_RICE_FOLDS)
    assert [v.votes_rice for v in votes] == [3, 2, 3, 5]
    assert [v.predicted for v in votes] == ["rice", "recurrence", "rice", "rice"]
    assert [v.p_rice for v in votes] == pytest.approx([0.4, 0.6, 0.3, 0.7])


def test_vote_table_has_a_row_per_subject_and_a_column_per_fold() -> None:
    table = vote_table(count_votes(SUBJECTS[:1], LABELS[:1], P_RICE_FOLDS[:1, :2]))
    assert table.splitlines() == [
        "participant_id\tlabel\tfold_0\tfold_1\tvotes_rice\tp_rice\tp_rice_calibrated\tpredicted\tthree_way\tlabel_set",
        "sub-001\trice\t0.600000\t0.600000\t2\t0.600000\tn/a\trice\tn/a\tn/a",
    ]


@pytest.mark.parametrize(
    ("least", "answer"), [(0.55, "rice"), (0.7, "indeterminate"), (None, "indeterminate")]
)
def test_below_the_threshold_the_vote_abstains(least: float | None, answer: str) -> None:
    threshold = DecisionThreshold(
        recalibration=Recalibration(method="temperature", slope=1.0, intercept=0.0), least_confidence=least
    )
    (vote,) = count_votes(SUBJECTS[:1], LABELS[:1], P_RICE_FOLDS[:1, :2], threshold)
    assert (vote.predicted, vote.three_way) == ("rice", answer)


def test_the_calibrated_p_rice_is_the_mean_of_the_folds_calibrated_ones() -> None:
    # logits 0 and ln 9: halved and lowered by ln 3, -ln 3 and 0
    platt = Recalibration(method="Platt", slope=0.5, intercept=-float(np.log(3)))
    by = DecisionThreshold(recalibration=platt, least_confidence=0.5)
    (vote,) = count_votes(["sub-001"], ["rice"], np.array([[0.5, 0.9]]), by)
    assert vote.p_rice == pytest.approx(0.7)
    assert vote.p_rice_calibrated == pytest.approx((0.25 + 0.5) / 2)
    # both folds say rice, which the calibrated mean does not
    assert (vote.predicted, vote.three_way) == ("rice", "indeterminate")
    header, row = (line.split("\t") for line in vote_table([vote]).splitlines())
    assert dict(zip(header, row, strict=True))["p_rice_calibrated"] == "0.375000"


TEMPERATURE_1 = Recalibration(method="temperature", slope=1.0, intercept=0.0)
FLAT = Recalibration(method="Platt", slope=0.0, intercept=0.0)
HALVED = Recalibration(method="Platt", slope=0.5, intercept=-float(np.log(3)))
WHY: list[tuple[list[float], Recalibration | None, float | None, str, str]] = [
    ([0.9, 0.8], TEMPERATURE_1, 0.8, "rice", "2 of 2 folds .* 0.8500: a .* of 0.8500, and 0.8000 is enough"),
    ([0.1, 0.2], TEMPERATURE_1, 0.8, "recurrence", "0 of 2 folds .* 0.1500: a confidence of 0.8500"),
    ([0.9, 0.6], TEMPERATURE_1, 0.8, "indeterminate", "a confidence of 0.7500 in rice, and 0.8000 is needed"),
    ([0.9, 0.8], TEMPERATURE_1, None, "indeterminate", "no confidence was high enough for the error allowed"),
    ([0.9, 0.8], FLAT, 0.6, "indeterminate", "is 0.5000 for every case, since"),
    # logits 0 and ln 9: halved and lowered by ln 3, so 0.25 and 0.5
    ([0.5, 0.9], HALVED, 0.6, "indeterminate", "which is for recurrence: the majority and .* disagree"),
    ([0.9, 0.8], None, None, "n/a", "holds no evidence"),
]


@pytest.mark.parametrize(("folds", "by", "least", "answer", "why"), WHY)
def test_the_three_way_answer_says_why(
    folds: list[float], by: Recalibration | None, least: float | None, answer: str, why: str
) -> None:
    threshold = None if by is None else DecisionThreshold(recalibration=by, least_confidence=least)
    given = three_way_answer(folds, threshold)
    assert given.answer == answer and re.search(why, given.why)
    assert (given.p_rice is None) == (given.confidence is None) == (by is None)


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("ricenet.inference.test_vote.getpass.getuser", nobody)
    monkeypatch.setattr("ricenet.inference.test_vote.socket.gethostname", lambda: "ward")
    name, _, host = user_at_host().partition("@")
    assert name.removeprefix("uid-").isdigit() and host == "ward"


# --- the ledger ---


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "models" / "test_ledger.tsv"


def evaluate(ledger: Path, test_set: str, digest: str, gate: str = "passed") -> int:
    row = LedgerRow("", "dose", "rice-net-dose", "3", digest * 12, 2, "0.750000", 0, test_set, gate)
    return record_evaluation(ledger, row).evaluation


def test_every_evaluation_is_counted_for_the_test_set_whichever_model_votes(ledger: Path) -> None:
    evaluated = [
        evaluate(ledger, *each) for each in (("one", "a"), ("one", "b"), ("other", "a"), ("one", "c"))
    ]
    assert evaluated == [1, 2, 1, 3]
    assert [row.evaluation for row in read_ledger(ledger)] == [1, 2, 1, 3]


def test_the_ledger_only_grows_and_an_ensemble_that_votes_again_adds_nothing(ledger: Path) -> None:
    evaluate(ledger, "one", "a", "forced")
    before = ledger.read_text()
    evaluate(ledger, "one", "b")
    grown = ledger.read_text()
    assert grown.startswith(before)
    assert evaluate(ledger, "one", "a") == 1
    assert ledger.read_text() == grown
    assert gate_of_earlier_evaluation(ledger, "a" * 64, "one") == "forced"
    assert gate_of_earlier_evaluation(ledger, "a" * 64, "other") is None


def test_evaluations_of_several_processes_at_once_are_all_kept(ledger: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from ricenet.inference.test_ledger import LedgerRow, record_evaluation\n"
        "for d in sys.argv[2]:\n"
        "    row = LedgerRow('', 'dose', 'm', '1', d * 12, 2, '0.75', 0, 'one')\n"
        "    record_evaluation(Path(sys.argv[1]), row)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(ledger), digests])
        for digests in ("0123456789", "abcdefghij")
    ]
    assert [process.wait() for process in started] == [0, 0]
    assert sorted(row.digest12[0] for row in read_ledger(ledger)) == list("0123456789abcdefghij")
    assert [row.evaluation for row in read_ledger(ledger)] == list(range(1, 21))


def test_a_temporary_copy_of_dvc_writes_into_the_ledger_of_the_project(tmp_path: Path, ledger: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    assert ledger_path(copy) == ledger_path(tmp_path) == ledger


def test_a_ledger_of_an_earlier_version_is_read_and_goes_on(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.write_text(OLD_LEDGER)
    (first,) = read_ledger(ledger)
    assert (first.digest12, first.evaluation, first.gate, first.who) == ("ffffffffffff", 1, "n/a", "n/a")
    assert evaluate(ledger, "one", "a") == 2
    assert [row.evaluation for row in read_ledger(ledger)] == [1, 2]
    assert "look" not in ledger.read_text().splitlines()[0].split("\t")


def test_a_ledger_without_its_columns_is_refused(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.write_text("utc\tmodality_set\n2026-01-01\tdose\n")
    with pytest.raises(ResultError, match=r"no column model, version.*restore it from git"):
        evaluate(ledger, "one", "a")


def test_a_ledger_behind_a_link_that_leads_nowhere_is_not_begun_anew(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.symlink_to("nowhere")
    with pytest.raises(ResultError, match=r"link that leads nowhere.*restore it from git"):
        read_ledger(ledger)


def test_a_test_set_is_its_subjects_and_labels_in_any_order() -> None:
    one = {"sub-001": "rice", "sub-002": "recurrence"}
    assert identify_test_set(one) == identify_test_set(dict(reversed(one.items())))
    assert identify_test_set(one) != identify_test_set({**one, "sub-002": "rice"})


def rewrite(ledger: Path, change: Callable[[list[str]], list[str]]) -> None:
    ledger.write_text("".join(change(ledger.read_text().splitlines(keepends=True))))


DAMAGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "emptied": (lambda lines: [], "no column utc"),
    "only its header is left": (lambda lines: lines[:1], r"has 0 row\(s\), but 3 evaluation"),
    "cut after a row": (lambda lines: lines[:-1], r"has 2 row\(s\), but 3 evaluation"),
    "cut within a row": (lambda lines: [*lines[:-1], lines[-1][:40]], "row 3 is cut"),
    "without its first row": (lambda lines: [lines[0], *lines[2:]], r"row 1 .*bbbb.* does not follow"),
    "without a row in the middle": (
        lambda lines: [*lines[:2], *lines[3:]],
        r"row 2 .*cccc.* does not follow",
    ),
    "with two rows exchanged": (
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
        r"row 1 .*bbbb.* does not follow",
    ),
    "with a better score": (
        lambda lines: [*lines[:2], lines[2].replace("0.750000", "0.500000"), lines[3]],
        r"row 2 .*bbbb.* does not follow",
    ),
    "with a row that was written by hand": (
        lambda lines: [*lines, lines[-1].rsplit("\t", 1)[0] + "\tn/a\n"],
        r"row 4 .* does not follow",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_ledger_that_was_changed_is_named_and_takes_no_further_evaluation(
    ledger: Path, damage: str
) -> None:
    for digest in "abc":
        evaluate(ledger, "one", digest)
    change, told = DAMAGES[damage]
    rewrite(ledger, change)
    left = ledger.read_text()
    for use in (lambda: read_ledger(ledger), lambda: evaluate(ledger, "one", "d")):
        with pytest.raises(ResultError, match=told + r"(?s:.*)restore it from git"):
            use()
    assert ledger.read_text() == left


@pytest.mark.parametrize("name", ["test_ledger.tsv", "test_ledger.json"])
def test_a_ledger_that_lacks_one_of_its_files_is_refused(ledger: Path, name: str) -> None:
    evaluate(ledger, "one", "a")
    evaluate(ledger, "two", "a")
    ledger.with_name(name).unlink()
    with pytest.raises(ResultError, match=r"restore it from git"):
        read_ledger(ledger)
    ledger.with_name(name).write_text("")
    with pytest.raises(ResultError, match=r"restore it from git"):
        read_ledger(ledger)


def test_a_ledger_of_both_versions_is_chained_from_where_the_later_one_began(ledger: Path) -> None:
    ledger.parent.mkdir()
    ledger.write_text(OLD_LEDGER)
    assert evaluate(ledger, "one", "a") == 2
    assert [row.chain == "n/a" for row in read_ledger(ledger)] == [True, False]
    # the first chained row covers those before it
    rewrite(ledger, lambda lines: [lines[0], lines[1].replace("0.500000", "0.400000"), lines[2]])
    with pytest.raises(ResultError, match=r"row 2 .* does not follow"):
        read_ledger(ledger)


@pytest.mark.parametrize("before", ["", OLD_LEDGER])
def test_a_kill_while_the_first_chained_row_is_written_blocks_nothing(ledger: Path, before: str) -> None:
    ledger.parent.mkdir()
    if before:
        ledger.write_text(before)
    evaluate(ledger, "one", "a")
    ledger.with_name("test_ledger.json").unlink()
    held = len(read_ledger(ledger))
    assert evaluate(ledger, "one", "b") == held + 1
    assert len(read_ledger(ledger)) == held + 1


def test_what_a_kill_left_unnoted_at_the_end_is_no_damage(ledger: Path) -> None:
    evaluate(ledger, "one", "a")
    end = ledger.with_suffix(".json").read_text()
    evaluate(ledger, "one", "b")
    ledger.with_suffix(".json").write_text(end)
    assert [row.digest12[0] for row in read_ledger(ledger)] == ["a", "b"]
    assert evaluate(ledger, "one", "c") == 3
