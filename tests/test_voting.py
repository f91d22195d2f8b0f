"""The majority vote on the test set, and the ledger of looks at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ricenet.inference.test_vote import (
    Sureness,
    VoteResult,
    count_votes,
    identify_test_set,
    ledger_path,
    read_ledger,
    record_look,
    vote_result,
    vote_table,
)
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


def test_the_majority_of_folds_decides_and_not_their_mean() -> None:
    votes = count_votes(SUBJECTS, LABELS, P_RICE_FOLDS)

    assert [v.votes_rice for v in votes] == [3, 2, 3, 5]
    assert [v.predicted for v in votes] == ["rice", "recurrence", "rice", "rice"]
    assert [v.p_rice for v in votes] == pytest.approx([0.4, 0.6, 0.3, 0.7])


def test_macro_f1_of_a_vote_computed_by_hand() -> None:
    result = vote_result(count_votes(SUBJECTS, LABELS, P_RICE_FOLDS))

    assert result.confusion == ((1, 1), (0, 2))
    # rice: 2 * 2 / (2 + 3); recurrence: 2 * 1 / (2 + 1)
    assert result.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert result.n == 4


def test_vote_table_has_a_row_a_subject_and_a_column_a_fold() -> None:
    table = vote_table(count_votes(SUBJECTS[:1], LABELS[:1], P_RICE_FOLDS[:1, :2]))

    assert table.splitlines() == [
        "participant_id\tlabel\tfold_0\tfold_1\tvotes_rice\tp_rice\tpredicted\tthree_way",
        "sub-001\trice\t0.600000\t0.600000\t2\t0.600000\trice\tn/a",
    ]


@pytest.mark.parametrize(
    ("least", "answer"), [(0.55, "rice"), (0.7, "indeterminate"), (None, "indeterminate")]
)
def test_a_vote_that_is_not_sure_enough_is_no_answer(least: float | None, answer: str) -> None:
    (vote,) = count_votes(SUBJECTS[:1], LABELS[:1], P_RICE_FOLDS[:1, :2], Sureness(1.0, least))
    assert (vote.predicted, vote.three_way) == ("rice", answer)


def look(ledger: Path, test_set: str, digest: str, modality_set: str = "dose") -> int:
    result = VoteResult(0.75, ((1, 0), (0, 1)), 2)
    name = f"rice-net-{modality_set}"
    return record_look(ledger, modality_set, name, "3", digest * 64, result, test_set).look


def test_every_look_is_counted_for_the_test_set_whichever_model_looks(tmp_path: Path) -> None:
    ledger = tmp_path / "models" / "test_ledger.tsv"

    assert look(ledger, "one", "a") == 1
    assert look(ledger, "one", "b", "event") == 2
    assert look(ledger, "another", "a") == 1
    assert look(ledger, "one", "c") == 3
    assert [row.look for row in read_ledger(ledger)] == [1, 2, 1, 3]


def test_an_ensemble_that_looks_again_learns_nothing_new(tmp_path: Path) -> None:
    ledger = tmp_path / "test_ledger.tsv"
    look(ledger, "one", "a")
    look(ledger, "one", "b")
    before = ledger.read_bytes()

    assert look(ledger, "one", "a") == 1
    assert ledger.read_bytes() == before


def test_looks_of_several_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    ledger = tmp_path / "test_ledger.tsv"
    code = (
        "import sys; from pathlib import Path\n"
        "from ricenet.inference.test_vote import VoteResult, record_look\n"
        "for digest in sys.argv[2]:\n"
        "    result = VoteResult(0.75, ((1, 0), (0, 1)), 2)\n"
        "    record_look(Path(sys.argv[1]), 'dose', 'm', '1', digest * 64, result, 'one')\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(ledger), digests])
        for digests in ("0123456789", "abcdefghij")
    ]

    assert [process.wait() for process in started] == [0, 0]
    assert sorted(row.digest12[0] for row in read_ledger(ledger)) == list("0123456789abcdefghij")
    assert [row.look for row in read_ledger(ledger)] == list(range(1, 21))


def test_a_temporary_copy_of_dvc_writes_into_the_ledger_of_the_project(tmp_path: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"

    assert ledger_path(copy) == ledger_path(tmp_path) == tmp_path / "models" / "test_ledger.tsv"


def test_the_ledger_only_grows(tmp_path: Path) -> None:
    ledger = tmp_path / "test_ledger.tsv"
    look(ledger, "one", "a")
    before = ledger.read_text()
    look(ledger, "one", "b")

    assert ledger.read_text().startswith(before)
    assert read_ledger(ledger)[0].digest12 == "a" * 12


def test_a_ledger_without_its_columns_is_refused(tmp_path: Path) -> None:
    ledger = tmp_path / "test_ledger.tsv"
    ledger.write_text("utc\tmodality_set\n2026-01-01\tdose\n")

    with pytest.raises(ResultError, match=r"no column model, version.*restore it from git"):
        look(ledger, "one", "a")


def test_a_test_set_is_its_subjects_and_labels_in_any_order() -> None:
    one = {"sub-001": "rice", "sub-002": "recurrence"}

    assert identify_test_set(one) == identify_test_set(dict(reversed(one.items())))
    assert identify_test_set(one) != identify_test_set({**one, "sub-002": "rice"})
