"""`ricenet compare`: sets at hand, registered versions and runs by every name, and each wrong one."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from registered_project import WRONG, Registered, spoil
from rich.console import Console
from tracked_project import PREFIX, make_project
from typer.testing import CliRunner

from ricenet.cli import app, comparison_text
from ricenet.config.params import read_params
from ricenet.evaluation.evidence.paired import compare_two
from ricenet.runtime.errors import RegistryError, ResultError
from ricenet.tracking.compared import find_run, find_side, set_at_hand
from ricenet.tracking.connection import TrackingStore
from ricenet.tracking.registry import versions
from ricenet.tracking.runs import KIND, MODALITY_SET, SET_KEY
from ricenet.vocabulary import PAPER_VOLUMES

ENSEMBLE_DIGEST = "ricenet.ensemble_digest"


@pytest.fixture
def tracked(registered: Registered) -> tuple[Path, TrackingStore]:
    """Dose trained twice, wrong on three subjects first."""
    return registered.project, registered.store


def found_as(tracked: tuple[Path, TrackingStore], given: str):
    project, store = tracked
    return find_side(project, given, PREFIX, PAPER_VOLUMES, lambda: store)


def run_of(store: TrackingStore, version: int) -> str:
    return str(versions(store, "rice-net-dose")[version - 1].run_id)


def answer(*arguments: str):
    return CliRunner().invoke(app, ["compare", *arguments, "--resamples", "200"])


def test_sets_at_hand_are_compared_without_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path / "project")
    spoil(project)
    monkeypatch.chdir(project)
    result = answer("post_op+dose", "dose")
    assert result.exit_code == 0, result.output
    assert "A: post_op+dose (at hand)\nB: dose (at hand)\n" in result.stdout
    assert "macro-F1                1.00 (0.33 to 1.00)  " in result.stdout
    assert "all         5     3        0        0" in result.stdout
    assert "modality_set  post_op+dose  dose" in result.stdout
    assert not (project / "mlflow").exists()


def test_a_version_is_found_by_number_alias_and_run(tracked: tuple[Path, TrackingStore]) -> None:
    project, store = tracked
    store.client().set_registered_model_alias("rice-net-dose", "before", "1")
    by_number = found_as(tracked, "models:/rice-net-dose/1")
    by_alias = found_as(tracked, "models:/rice-net-dose@before")
    run_id = run_of(store, 1)
    by_id, by_prefix = found_as(tracked, run_id), found_as(tracked, run_id[:8].upper())

    wrong = {p.participant_id for p in by_number.predictions if (p.p_rice >= 0.5) != (p.label == "rice")}
    assert wrong == set(WRONG)
    assert by_number == by_alias == replace(by_id, name="rice-net-dose version 1")
    assert by_id == by_prefix
    assert by_id.name == f"dose (run {run_id[:8]})"
    at_hand = set_at_hand(project, "dose")
    again = found_as(tracked, "models:/rice-net-dose/2")
    assert replace(at_hand, name="") == replace(again, name="", predictions=at_hand.predictions)
    assert sorted(at_hand.predictions, key=str) == sorted(again.predictions, key=str)


def test_a_run_is_found_by_the_name_that_it_was_given(tracked: tuple[Path, TrackingStore]) -> None:
    _, store = tracked
    client, ids = store.client(), [run_of(store, 1), run_of(store, 2)]
    client.update_run(ids[0], name="with 60 epochs")
    assert find_run(store, "with 60 epochs", PAPER_VOLUMES).info.run_id == ids[0]
    assert found_as(tracked, "with 60 epochs").name == f"with 60 epochs (dose, run {ids[0][:8]})"
    client.update_run(ids[1], name="with 60 epochs")
    with pytest.raises(
        RegistryError, match=f"is the name of 2 runs; name one by its id: .*{ids[0]}.*{ids[1]}"
    ):
        find_run(store, "with 60 epochs", PAPER_VOLUMES)
    for run_id in ids:
        client.update_run(run_id, name="dose")


def test_a_run_has_the_predictions_of_its_folds(
    tracked: tuple[Path, TrackingStore],
) -> None:
    project, store = tracked
    (version,) = versions(store, "rice-net-post_op+dose")
    side = found_as(tracked, str(version.run_id))
    assert replace(side, name="") == replace(set_at_hand(project, "post_op+dose"), name="")


def test_a_version_whose_run_holds_another_ensemble_by_now_is_refused(
    tracked: tuple[Path, TrackingStore],
) -> None:
    _, store = tracked
    run_id, client = run_of(store, 1), store.client()
    digest = client.get_run(run_id).data.tags[ENSEMBLE_DIGEST]
    client.set_tag(run_id, ENSEMBLE_DIGEST, "0" * 64)
    with pytest.raises(RegistryError, match=r"version 1: its run holds the predictions of another ensemble"):
        found_as(tracked, "models:/rice-net-dose/1")
    client.set_tag(run_id, ENSEMBLE_DIGEST, digest)


def test_two_trainings_of_a_set_differ_by_what_was_changed(tracked: tuple[Path, TrackingStore]) -> None:
    result = answer("models:/rice-net-dose/2", "models:/rice-net-dose/1", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["parameters"] == [{"name": "seed", "a": "8", "b": "7"}]
    assert found["digests"] == []
    assert found["same_folds"] is True
    assert found["right"]["rice"] == {"both": 2, "only_a": 2, "only_b": 0, "neither": 0}
    assert found["right"]["recurrence"] == {"both": 3, "only_a": 1, "only_b": 0, "neither": 0}
    # three discordant, all for A: 2 / 2^3
    assert found["p_values"]["mcnemar"] == pytest.approx(0.25)
    assert (found["seed"], found["resamples"]) == (read_params().seed, 200)
    assert set(found) == {
        "a", "b", "common", "only_a_held_out", "only_b_held_out", "same_folds", "differences", "p_values",
        "right", "verdict", "caution", "digests", "parameters", "seed", "resamples",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["both.png", "both.svg"])
def test_a_plot_is_drawn_beside_the_table(tracked: tuple[Path, TrackingStore], name: str) -> None:
    result = answer("dose", "models:/rice-net-dose/1", "--plot", name)
    assert result.exit_code == 0, result.output
    assert "verdict" not in result.stdout and "score (95 % interval)" in result.stdout
    assert Path(name).read_bytes().startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
    assert f"{name} written" in result.stderr


def test_a_terminal_shows_the_same_words(tracked: tuple[Path, TrackingStore]) -> None:
    first, second = (found_as(tracked, name) for name in ("models:/rice-net-dose/1", "dose"))
    found, _ = compare_two(first, replace(second, name="a name [in brackets]"), 7, 200)
    console = Console(width=140, record=True, force_terminal=True, file=StringIO())
    comparison_text.print_rich(found, console)
    shown = console.export_text()
    assert "a name [in brackets]" in shown and found.verdict in " ".join(shown.split())
    for cell in ("McNemar, exact", found.differences["auc"].text(signed=True), "what differs"):
        assert cell in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("dose+post_op", r"unknown modality set 'dose\+post_op'; its name is post_op\+dose"),
        ("nonsense", r"'nonsense' is no modality set .*`ricenet ui` shows the runs"),
        ("it's", r"\"it's\" is no modality set"),
        ("01234567", "'01234567' is no modality set"),
        ("models:/rice-net-event/1", "no registered model rice-net-event; there is rice-net-dose"),
        ("models:/rice-net-dose/9", "rice-net-dose has no version 9 that .* registered; it has 1, 2"),
        ("models:/rice-net-dose@nobody", "rice-net-dose has no alias nobody"),
        ("models:rice-net-dose", "'models:rice-net-dose' is no model; expected models:/NAME@ALIAS"),
        ("dose fold 1", r"is a run of kind 'fold'.*Name the run of a modality set \([0-9a-f]{32}\)"),
    ],
)  # fmt: skip
def test_a_name_that_means_nothing_is_refused(
    tracked: tuple[Path, TrackingStore], given: str, said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        found_as(tracked, given)


def test_a_fold_named_by_its_id_is_refused(tracked: tuple[Path, TrackingStore]) -> None:
    _, store = tracked
    (fold, *_) = store.client().search_runs([store.experiment_id], f"tags.`{KIND}` = 'fold'")
    with pytest.raises(RegistryError, match=f"'{fold.info.run_id}' is a run of kind 'fold'"):
        found_as(tracked, fold.info.run_id)


def test_the_beginning_of_several_ids_is_refused(
    tracked: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = tracked
    runs = store.client().search_runs([store.experiment_id], f"tags.`{KIND}` = 'set'")
    for run in runs:
        # ids are drawn, so that two with one beginning have to be made up
        run.info._run_id = "12345678" + run.info.run_id[8:]
    monkeypatch.setattr("ricenet.tracking.compared.search_runs", lambda *_: runs)
    with pytest.raises(RegistryError, match=r"'12345678' is the name of 3 runs; name one by its id"):
        find_run(store, "12345678", PAPER_VOLUMES)
    assert find_run(store, runs[1].info.run_id, PAPER_VOLUMES) is runs[1]


def test_a_set_in_training_has_no_predictions_yet(tracked: tuple[Path, TrackingStore]) -> None:
    _, store = tracked
    tags = {KIND: "set", MODALITY_SET: "dose", SET_KEY: "unfinished", "ricenet.key": "unfinished"}
    run = store.client().create_run(store.experiment_id, tags=tags, run_name="unfinished")
    with pytest.raises(
        ResultError, match=r"unfinished \(dose, run .*holds held-out predictions of none of its"
    ):
        found_as(tracked, "unfinished")
    store.client().delete_run(run.info.run_id)


def test_a_set_that_lacks_a_fold_is_refused(tracked: tuple[Path, TrackingStore]) -> None:
    _, store = tracked
    (version,) = versions(store, "rice-net-post_op+dose")
    run_id = str(version.run_id)
    (one, *_) = store.client().search_runs(
        [store.experiment_id], f"tags.`{KIND}` = 'fold' and tags.`mlflow.parentRunId` = '{run_id}'"
    )
    table = Path(one.info.artifact_uri.removeprefix("file://")) / "training/predictions.tsv"
    kept = table.read_text()
    table.write_text("participant_id\tlabel\tfold\tp_rice\nsub-001\tunsure\t0\t0.5\n")
    with pytest.raises(ResultError, match=r"predictions.tsv of a fold's run is damaged"):
        found_as(tracked, run_id)
    table.unlink()
    with pytest.raises(ResultError, match=r"predictions of 1 fold\(s\) only, of 2: it is still in training"):
        found_as(tracked, run_id)
    table.write_text(kept)


def test_a_version_whose_run_is_gone_is_refused(
    tracked: tuple[Path, TrackingStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = tracked
    (version,) = versions(store, "rice-net-post_op+dose")
    gone = replace(version, run_id="f" * 32)
    monkeypatch.setattr("ricenet.tracking.compared.find_registered", lambda *_: gone)
    with pytest.raises(RegistryError, match=r"rice-net-post_op\+dose version 1: its run is not in the store"):
        found_as(tracked, "models:/rice-net-post_op+dose/1")


def test_a_set_that_was_not_trained_is_refused(tracked: tuple[Path, TrackingStore]) -> None:
    result = answer("dose", "event")
    assert result.exit_code == 1
    assert "models/ensembles/event" in result.output and "`dvc repro train` makes it" in result.output
    assert "Traceback" not in result.output


def test_the_same_thing_by_two_names_is_refused(tracked: tuple[Path, TrackingStore]) -> None:
    for other in ("dose", "models:/rice-net-dose/2"):
        result = answer("dose", other)
        assert result.exit_code == 1
        assert "are one and the same training of dose. Name two that differ" in result.output


@pytest.mark.parametrize(
    ("plot", "said"),
    [
        ("both.pdf", "--plot both.pdf is neither a .png nor a .svg; name it FILE.png or FILE.svg"),
        ("nowhere/both.png", "--plot both.png: its folder nowhere does not exist; make it first"),
        ("folder.png", "--plot folder.png is a folder; name a file in it"),
    ],
)
def test_a_plot_that_cannot_be_written_is_refused_before_any_work(
    plot: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.png").mkdir()
    result = answer("dose", "event", "--plot", plot)
    assert result.exit_code == 1
    assert f"error: {said}" in result.output


def test_too_few_resamples_are_refused() -> None:
    result = CliRunner().invoke(app, ["compare", "dose", "event", "--resamples", "199"])
    assert result.exit_code == 2
