"""The network of several visits: what it is given, what cannot matter, and that it trains and is kept like
others.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_folds import PREPROCESSING, elsewhere, plan, write_subjects

from ricenet.config.network_params import VisitsParams, network_by_name
from ricenet.evaluation.occlusion.answering import WholeInput, known_input
from ricenet.preprocessing.network_input import read_volumes
from ricenet.training.concurrency import trial_step
from ricenet.training.cross_validation import lay_out_ensembles
from ricenet.training.ensemble import Ensemble
from ricenet.training.fold import train_fold, train_together
from ricenet.training.hardware import Hardware
from ricenet.training.networks import build_network
from ricenet.training.predictions import read_predictions
from ricenet.training.task import PREDICTIONS
from ricenet.training.visits_network import Time2Vec, Visits, VisitsNetwork
from ricenet.training.withheld_volumes import withhold
from ricenet.vocabulary import PAPER_VOLUMES, VolumeSpec

T1, FLAIR = "ce-gadolinium_T1w", "FLAIR"


def spec(name: str, session: str, suffix: str = T1, kind: str = "mri") -> VolumeSpec:
    return VolumeSpec(name=name, kind=kind, session=session, suffix=suffix, title=name)  # type: ignore[arg-type]


FOUR = (
    spec("post_op", "postop"),
    spec("event", "event"),
    spec("previous", "previous"),
    spec("post_rt", "postrt"),
    spec("event_flair", "event", FLAIR),
    spec("dose", "postop", "dose", "dose"),
)
SETTINGS = VisitsParams(widths=[2, 3, 4], heads=2)


def made(members: tuple[VolumeSpec, ...] = FOUR, **changes: object) -> VisitsNetwork:
    torch.manual_seed(3)
    settings = SETTINGS.model_copy(update=changes)
    network = build_network(settings, len(members), members=members).eval()
    assert isinstance(network, VisitsNetwork)
    # not at its start, where the query is nothing
    torch.nn.init.normal_(network.query)
    return network


def noise(channels: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(2, channels, 8, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_visits_follow_one_another_in_time_however_they_are_declared() -> None:
    visits = Visits.of(FOUR, ["age_years", "days_rt_end_to_event"])
    assert visits.sessions == ("postop", "postrt", "previous", "event")
    # FLAIR, then T1 of each
    assert visits.mris == ((None, 0), (None, 3), (None, 2), (4, 1))
    assert visits.dose == 5
    assert visits.times == ((None, 0.0), (None, 0.25), (None, 0.5), (1, 0.75))
    assert visits.channels == 5


def test_the_encoder_sees_mris_changes_and_dose_of_a_visit() -> None:
    members = (PAPER_VOLUMES["post_op"], PAPER_VOLUMES["event"], PAPER_VOLUMES["dose"])
    volumes = noise(3)
    seen, present, there = made(members).arranged(volumes)
    post_op, event, dose = volumes.unbind(1)
    assert seen.shape == (2, 2, 3, 8, 8, 8)
    torch.testing.assert_close(seen[:, 0], torch.stack([post_op, torch.zeros_like(event), dose], 1))
    torch.testing.assert_close(seen[:, 1], torch.stack([event, event - post_op, dose], 1))
    assert present.tolist() == [[[True, False, True], [True, True, True]]] * 2
    assert there.all()


@pytest.mark.parametrize(("difference", "before"), [("first", 0), ("previous", 2)])
def test_a_change_is_from_the_first_visit_or_from_the_one_before(difference: str, before: int) -> None:
    volumes = noise(6)
    seen, *_ = made(difference=difference).arranged(volumes)
    # the last visit's second change is that of T1
    torch.testing.assert_close(seen[:, 3, 3], volumes[:, 1] - volumes[:, before])


def test_what_a_missing_visit_holds_cannot_matter_and_neither_does_what_it_would_have_changed() -> None:
    network, volumes = made(), noise(6)
    others = volumes.clone()
    others[:, 2] = 50.0
    present = np.array([True, True, False, True, True, True])
    given = withhold(volumes, present)
    torch.testing.assert_close(network(given), network(withhold(others, present)), rtol=0, atol=0)
    assert not torch.allclose(network(given), network(volumes))
    # neither is it encoded nor attended to
    seen, _, there = network.arranged(given)
    assert there.tolist() == [[True, True, False, True]] * 2
    assert not seen[:, 2, :4].any()


def test_another_subject_of_the_batch_cannot_matter_whatever_it_lacks() -> None:
    network, volumes = made(), noise(6)
    given = volumes.clone()
    given[1] = withhold(volumes[1], np.array([True, False, False, False, False, False]))
    torch.testing.assert_close(network(given)[:1], network(volumes[:1]))
    torch.testing.assert_close(network(given)[1:], network(given[1:]))


def test_the_order_of_declaration_changes_nothing() -> None:
    order = [5, 2, 0, 4, 3, 1]
    volumes = noise(6)
    one, other = made(), made(tuple(FOUR[k] for k in order))
    torch.testing.assert_close(one(volumes), other(volumes[:, order]), rtol=0, atol=0)


@pytest.mark.parametrize("missing", [(), (0, 1, 2, 3, 4), (5,), (0, 5)])
def test_gradients_are_those_of_small_differences(missing: tuple[int, ...]) -> None:
    network = made().double()
    volumes = noise(6).double()
    given = withhold(volumes, np.array([k not in missing for k in range(6)]))
    weight = network.encoder[0].weight
    network(given)[:, 1].sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())
    slope, step = float(weight.grad[0, 1, 2, 2, 2]), 1e-6
    with torch.no_grad():
        weight[0, 1, 2, 2, 2] += step
        above = network(given)[:, 1].sum()
        weight[0, 1, 2, 2, 2] -= 2 * step
        below = network(given)[:, 1].sum()
    assert slope == pytest.approx(float(above - below) / (2 * step), rel=1e-4, abs=1e-7)


def test_time_is_a_line_and_waves() -> None:
    time = Time2Vec()
    weights, offsets = time.linear.weight[:, 0], time.linear.bias
    found = time(torch.tensor([0.3]))[0]
    expected = 0.3 * weights + offsets
    torch.testing.assert_close(found, torch.cat([expected[:1], expected[1:].sin()]))


def test_days_are_the_time_of_their_visit_where_they_are_declared() -> None:
    members, columns = (PAPER_VOLUMES["post_op"], PAPER_VOLUMES["event"]), ["days_rt_end_to_event"]
    settings = SETTINGS.model_copy(update={"variables": True})
    network = build_network(settings, 2, 1, members, columns).eval()
    assert isinstance(network, VisitsNetwork)
    there = torch.ones(2, 2, dtype=torch.bool)
    days = torch.tensor([[-1.5], [2.0]])
    assert network.times(there, days).tolist() == [[0.0, -1.5], [0.0, 2.0]]
    assert network(noise(2), days).shape == (2, 2)


def test_a_set_without_mri_is_one_visit_of_its_dose() -> None:
    network = made((PAPER_VOLUMES["dose"],))
    assert network.visits.sessions == ("",)
    answers = network(noise(1))
    assert torch.isfinite(answers).all()
    assert not torch.allclose(answers[0], answers[1])


def test_heads_share_the_last_width() -> None:
    (problem,) = VisitsParams(widths=[2, 3, 4], heads=3).misfits({"cube": (32,)}, None, False)
    assert problem.startswith("network.heads: 3 does not divide the last of network.widths, 4")
    assert isinstance(network_by_name({"name": "visits"}), VisitsParams)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_it_trains_in_step_with_others_is_kept_and_answers_as_it_did(dropout: float, tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    settings = SETTINGS.model_copy(update={"channel_dropout": dropout})
    tasks = [
        dataclasses.replace(task, network=settings) for task in plan(tmp_path, splits, ["post_op+event+dose"])
    ]
    for task in tasks:
        train_fold(task)
    (other,) = plan(tmp_path, splits, ["dose"])[:1]
    assert train_together([elsewhere(tasks[0], "again"), elsewhere(other, "again")]) == [None, None]
    again = elsewhere(tasks[0], "again").folder
    assert (again / "weights.safetensors").read_bytes() == (
        tasks[0].folder / "weights.safetensors"
    ).read_bytes()
    lay_out_ensembles(tasks, tmp_path / "ensembles", "", "", "", PREPROCESSING)
    ensemble = Ensemble.load(tmp_path / "ensembles/post_op+event+dose")
    subject = tasks[0].validation_subjects[0]
    names = list(PAPER_VOLUMES.names)
    volumes = read_volumes(tasks[0].preprocessed / subject, subject, names, tasks[0].grid).astype(np.float32)
    (row, *_) = read_predictions(tasks[0].folder / PREDICTIONS)
    assert ensemble.predict(volumes[None])[0, 0] == pytest.approx(row.p_rice, abs=1e-6)


def test_its_cost_is_tried_and_its_maps_take_the_plain_way(tmp_path: Path) -> None:
    splits = write_subjects(tmp_path / "preprocessed", 6)
    task = dataclasses.replace(plan(tmp_path, splits, ["post_op+event"])[0], network=SETTINGS)
    step, state_bytes = trial_step(task, Hardware.choose("float32"))
    assert np.isfinite(step())
    assert state_bytes > 0
    asked = known_input(made(PAPER_VOLUMES[:2]), noise(2)[0].numpy(), "float32")
    assert isinstance(asked, WholeInput)
