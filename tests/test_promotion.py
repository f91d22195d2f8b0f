"""Promotion through the gate, by hand past it, and what the ledger and the version's tags keep of it."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from tracked_project import PREFIX, make_project, store_of, train, write_gate
from typer.testing import CliRunner

from ricenet.cli.promote import promote as promote_command
from ricenet.evaluation.intervals import Estimate
from ricenet.inference.test_vote import read_ledger
from ricenet.runtime.errors import RegistryError
from ricenet.runtime.files import read_json, write_json
from ricenet.screening.guards.result import GuardResult
from ricenet.tracking.champion_vote import Rules, looker, vote
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.promotion import promote_through_gate
from ricenet.tracking.register_models import register_ensembles
from ricenet.tracking.registry import champions, make_champion, promotable_version, versions
from ricenet.training.predictions import Prediction

RULES = Rules(seed=7, resamples=300)
LEAK = GuardResult(name="same_image", outcome="failed", found="sub-001 is sub-002", remedy="Leave one out.")
POOR = Estimate(value=0.5, low=0.3, high=0.7, method="bca")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("files") / "project")
    shutil.rmtree(project / "models/ensembles/post_op+dose")
    return project


@pytest.fixture
def project(files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files, tmp_path / "project"))


def registered(project: Path, **gate: Any) -> TrackingStore:
    """The dose's ensemble registered with a gate record that has these changes."""
    write_gate(project, "dose", **gate)
    store = store_of(project)
    register_ensembles(project, store, PREFIX)
    return store


def promote(store: TrackingStore, version: int | None = None, reason: str | None = None) -> Any:
    return promote_through_gate(store, PREFIX, "dose", version, seed=7, resamples=300, reason=reason)


def by_hand(project: Path, store: TrackingStore, version: int | None = None) -> None:
    """As if the alias were moved in the web page."""
    make_champion(store, promotable_version(store, PREFIX, "dose", version))
    write_champions(project, store)


def write_champions(project: Path, store: TrackingStore) -> None:
    digests = {name: ensemble.digest for name, ensemble in champions(store, PREFIX).items()}
    write_json(project / "work/champions.json", digests)


def tags(store: TrackingStore, version: str = "1") -> dict[str, str]:
    return dict(store.client().get_model_version("rice-net-dose", version).tags)


def test_what_passes_is_promoted_and_says_so(project: Path) -> None:
    store = registered(project)
    promote(store)
    assert champions(store, PREFIX)["dose"].version == "1"
    found = tags(store)
    assert found["ricenet.gate"] == "passed"
    assert "ricenet.promoted_utc" in found
    assert "ricenet.promotion_reason" not in found
    assert (found["ricenet.temperature"], found["ricenet.least_confidence"]) == ("2.0", "0.6")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"failed_guards": (LEAK,)}, r"guard same_image: sub-001 is sub-002\. Leave one out"),
        ({"macro_f1": POOR}, r"chance: its cross-validated macro-F1 of 0\.50 \(0\.30 to 0\.70\)"),
        ({"folds": ()}, r"folds: it has none"),
        ({"ensemble_digest": "0" * 64}, r"evidence: its run holds no evidence of the cross-validation"),
    ],
)
def test_each_broken_case_is_refused_with_its_reason(
    project: Path, change: dict[str, Any], told: str
) -> None:
    store = registered(project, **change)
    with pytest.raises(RegistryError, match=told) as refused:
        promote(store)
    assert "--force --reason TEXT" in str(refused.value)
    assert champions(store, PREFIX) == {}


def test_forcing_is_kept_in_the_versions_tags_and_lets_it_vote(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = registered(project, failed_guards=(LEAK,), macro_f1=POOR)
    promote(store, reason="a dry run with copies")
    found = tags(store)
    assert found["ricenet.promotion_reason"] == "a dry run with copies"
    assert found["ricenet.forced_past"] == "guard same_image; chance"
    assert found["ricenet.gate"] == "failed: chance, guard same_image"
    write_champions(project, store)
    caplog.set_level(logging.WARNING, "ricenet")
    assert set(vote(project, store, PREFIX, RULES)) == {"dose"}
    assert "votes past the gate, as it was promoted with --force: guard same_image" in caplog.text
    (row,) = read_ledger(project / "models/test_ledger.tsv")
    assert (row.gate, row.who) == ("forced", "n/a")


def test_an_alias_moved_by_hand_past_the_gate_does_not_vote(project: Path) -> None:
    store = registered(project, failed_guards=(LEAK,))
    by_hand(project, store)
    with pytest.raises(
        RegistryError, match=r"the champion rice-net-dose version 1 .* does not pass the gate"
    ) as told:
        vote(project, store, PREFIX, RULES)
    assert "guard same_image: sub-001 is sub-002" in str(told.value)
    assert "tracking.vote_past_gate" in str(told.value)
    assert not (project / "models/test_ledger.tsv").exists()
    forced = Rules(seed=7, resamples=300, past_gate=True, who="ann@ward")
    assert set(vote(project, store, PREFIX, forced)) == {"dose"}
    (row,) = read_ledger(project / "models/test_ledger.tsv")
    assert (row.gate, row.who) == ("forced", "ann@ward")


def test_an_alias_moved_by_hand_within_the_gate_votes(project: Path) -> None:
    store = registered(project)
    by_hand(project, store)
    vote(project, store, PREFIX, RULES)
    (row,) = read_ledger(project / "models/test_ledger.tsv")
    assert row.gate == "passed"
    header, *rows = (project / "work/vote/dose.tsv").read_text().splitlines()
    assert header.endswith("\tthree_way")
    assert {line.rsplit("\t", 1)[1] for line in rows} <= {"rice", "recurrence", "indeterminate"}


def predicted(right: bool) -> tuple[...]:
    """Sixteen subjects, all right or all wrong."""
    return tuple(
        Prediction(
            participant_id=f"sub-{i:03d}",
            label="rice" if i % 2 else "recurrence",
            fold=i % 2,
            p_rice=0.9 if bool(i % 2) == right else 0.1,
        )
        for i in range(16)
    )


def test_a_worse_version_does_not_follow_the_champion_neither_by_command_nor_by_hand(project: Path) -> None:
    store = registered(project, predictions=predicted(right=True))
    promote(store)
    train(project, "dose", seed=8)
    registered(project, predictions=predicted(right=False))
    with pytest.raises(
        RegistryError, match=r"worse_than_champion: its macro-F1 differs by -1\.00 .* version 1"
    ):
        promote(store, version=2)
    by_hand(project, store, version=2)
    with pytest.raises(RegistryError, match=r"worse_than_champion: .* version 1"):
        vote(project, store, PREFIX, RULES)
    # and back again: the champion of before is not compared with what was never promoted
    by_hand(project, store, version=1)
    assert promote(store, version=1).version == "1"


def test_a_new_champion_is_not_held_against_the_one_it_replaced(project: Path) -> None:
    store = registered(project, predictions=predicted(right=False))
    promote(store)
    train(project, "dose", seed=8)
    registered(project, predictions=predicted(right=True))
    promote(store, version=2)
    write_champions(project, store)
    assert set(vote(project, store, PREFIX, RULES)) == {"dose"}


def test_what_was_forced_past_one_condition_is_not_let_past_another(project: Path) -> None:
    store = registered(project, macro_f1=POOR, predictions=predicted(right=False))
    promote(store, reason="a dry run")
    train(project, "dose", seed=8)
    registered(project, predictions=predicted(right=True))
    promote(store, version=2)
    by_hand(project, store, version=1)
    with pytest.raises(RegistryError, match=r"worse_than_champion"):
        vote(project, store, PREFIX, RULES)


def test_an_ensemble_that_has_looked_may_go_on_voting(project: Path) -> None:
    store = registered(project)
    promote(store)
    write_champions(project, store)
    vote(project, store, PREFIX, RULES)
    registered(project, failed_guards=(LEAK,))
    assert set(vote(project, store, PREFIX, RULES)) == {"dose"}
    assert len(read_ledger(project / "models/test_ledger.tsv")) == 1


def test_a_champion_that_may_not_vote_does_not_keep_another_from_promotion(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = registered(project, failed_guards=(LEAK,))
    by_hand(project, store)
    train(project, "dose", seed=8)
    registered(project)
    monkeypatch.chdir(project)
    outcome = run("dose", "--if-none")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("rice-net-dose version 2")
    assert "nothing promoted" in run("dose", "--if-none").stdout


def test_a_reason_is_kept_even_where_nothing_has_to_be_forced(project: Path) -> None:
    store = registered(project)
    promote(store, reason="the board's choice")
    assert tags(store)["ricenet.promotion_reason"] == "the board's choice"
    assert tags(store)["ricenet.forced_past"] == ""


def test_a_user_without_a_name_is_a_number_in_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("ricenet.tracking.champion_vote.getpass.getuser", nobody)
    monkeypatch.setattr("ricenet.tracking.champion_vote.socket.gethostname", lambda: "ward")
    assert re.fullmatch(r"uid-\d+@ward", looker())


def test_the_versions_card_tells_scores_with_intervals_and_limits(project: Path) -> None:
    store = registered(project)
    (version,) = versions(store, PREFIX, "dose")
    card = store.client().get_model_version(version.model, version.version).description
    assert "not for clinical use" in card
    for title in ("Scores", "Against simple baselines", "Guards against leaks", "Limits"):
        assert f"## {title}" in card
    run = store.client().get_run(version.run_id)
    assert {"auc", "auc_low", "auc_high", "brier", "ece"} <= run.data.metrics.keys()
    before = store.client().get_model_version(version.model, version.version).last_updated_timestamp
    register_ensembles(project, store, PREFIX)
    after = store.client().get_model_version(version.model, version.version).last_updated_timestamp
    assert after == before


def test_evidence_of_another_ensemble_is_not_shown(project: Path) -> None:
    store = registered(project, ensemble_digest="0" * 64)
    (version,) = versions(store, PREFIX, "dose")
    assert "auc" not in store.client().get_run(version.run_id).data.metrics
    assert "ricenet.gate" not in tags(store)


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(promote_command)
    return CliRunner().invoke(app, arguments)


def test_the_command_forces_only_with_a_reason(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(project, failed_guards=(LEAK,))
    monkeypatch.chdir(project)
    for arguments in (
        ("dose", "--force"),
        ("dose", "--reason", "why not"),
        ("dose", "--force", "--reason", " "),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert "--force and --reason TEXT belong together" in refused.stderr
    refused = run("dose")
    assert refused.exit_code == 1
    assert "guard same_image" in refused.stderr
    forced = run("dose", "--force", "--reason", "a dry run")
    assert forced.exit_code == 0
    assert forced.stdout.startswith("rice-net-dose version 1")
    assert read_json(project / "models/ensembles/dose/ensemble.json")["digest"][:12] in forced.stdout


def test_a_ledger_of_before_the_gate_is_read_and_kept(project: Path) -> None:
    old = "utc\tmodality_set\tmodel\tversion\tdigest12\tn\tmacro_f1\tlook\ttest_set\n"
    old += "2026-01-01T00:00:00+00:00\tdose\trice-net-dose\t9\tffffffffffff\t2\t0.500000\t1\tabc\n"
    (project / "models/test_ledger.tsv").write_text(old)
    store = registered(project)
    by_hand(project, store)
    vote(project, store, PREFIX, RULES)
    first, second = read_ledger(project / "models/test_ledger.tsv")
    assert (first.digest12, first.gate, first.who) == ("ffffffffffff", "n/a", "n/a")
    assert second.gate == "passed"
