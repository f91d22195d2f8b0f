"""Tasks on the nodes of a real Ray cluster that share no files with the driver, and may be lost."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cluster_tasks
import psutil
import pytest
from cluster_tasks import Copying, SlowObserver, staged
from ray_nodes import TESTS, TOKEN, RayNodes
from small_folds import SERIAL, TRAINING, elsewhere, plan, results, write_subjects
from tracking_servers import wait_until

from ricenet.config.params import ExecutionParams
from ricenet.runtime.errors import RicenetError
from ricenet.runtime.execution import run_tasks
from ricenet.runtime.ray import cluster as ray_cluster
from ricenet.runtime.ray import run
from ricenet.training.cross_validation import train_folds
from ricenet.training.task import CHECKPOINT

HEAD = "127.0.0.2"
INSPECTION = ray_cluster.node_inspection

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install 'ricenet[ray]'", allow_module_level=True)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    nodes = RayNodes()
    try:
        nodes.start(HEAD)
        yield nodes
    finally:
        leave()
        nodes.stop()


@pytest.fixture
def two_nodes(nodes: RayNodes, monkeypatch: pytest.MonkeyPatch) -> RayNodes:
    nodes.make_two()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    read_token_anew()
    monkeypatch.setattr(run, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(run, "TURN_SECONDS", 0.2)
    return nodes


@pytest.fixture
def cluster(two_nodes: RayNodes) -> RayNodes:
    """The cluster, not joined yet."""
    leave()
    return two_nodes


@pytest.fixture
def joined(two_nodes: RayNodes) -> RayNodes:
    """The cluster, joined already: that takes seconds, so tests of other things do not repeat it."""
    import ray

    if not ray.is_initialized():
        ray.init(address=two_nodes.address, log_to_driver=False)
    return two_nodes


def leave() -> None:
    import ray

    ray.shutdown()


def read_token_anew() -> None:
    """Ray reads these variables when it is imported, which another test may have done."""
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_inputs_arrive_and_results_come_back_without_a_shared_folder(
    cluster: RayNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = cluster.other
    inputs = (written(tmp_path / "in" / "a", "alpha"), written(tmp_path / "in" / "b", "beta"))
    tasks = [Copying(f"task {k}", inputs[: k + 1], tmp_path / "out" / str(k), tmp_path) for k in range(2)]
    written(tmp_path / "out" / "1" / "draft", "begun")
    with caplog.at_level("INFO", logger="ricenet"):
        outcomes = run_tasks(cluster_tasks.copy, tasks, "ray", 2, 1, "copies", staging=staged)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert {outcome.result for outcome in outcomes} == {HEAD, other}
    assert (tmp_path / "out/0/text").read_text() == "task 0: alpha, after []"
    assert (tmp_path / "out/1/text").read_text() == "task 1: alpha beta, after ['draft']"
    assert sorted(path.name for path in (tmp_path / "out/1").iterdir()) == ["record", "text"]
    assert "task 1 is copied" in caplog.messages
    left = [p for a in (HEAD, other) for p in cluster.folder(a).glob("ricenet-*/*") if p.suffix != ".lock"]
    assert left == []


def test_a_wrong_token_is_refused_at_once(cluster: RayNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN[::-1])
    with pytest.raises(RicenetError, match=r"refuses this token.*RAY_AUTH_TOKEN"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def test_a_missing_token_is_named(cluster: RayNodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RicenetError, match=r"refuses this token, or there is none: set RAY_AUTH_MODE=token"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def test_a_cluster_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "PING_SECONDS", 3)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.2:9")
    with pytest.raises(RicenetError, match=r"no Ray cluster answers at RAY_ADDRESS=127.0.0.2:9: start it"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def test_an_address_of_rays_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://192.0.2.1:10001")
    with pytest.raises(RicenetError, match="start a node of the cluster on this machine"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Version mismatch: The cluster was started with: Ray: 2.1", "runs another version of Ray or Python"),
        ("No node info found matching attributes", "this machine has to be one of its nodes"),
    ],
)
def test_what_ray_says_when_joining_fails_is_explained(
    told: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuse(**_: object) -> None:
        raise RuntimeError(told)

    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    monkeypatch.setattr(ray_cluster, "_ping", lambda _: None)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(RicenetError, match=expected):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def test_a_cluster_without_tokens_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray_cluster.warn_of_open_nodes()
    assert "no token authentication: anyone who reaches its ports can run code" in caplog.text


def test_without_an_address_ray_works_on_this_machine(
    cluster: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    outcomes = run_tasks(cluster_tasks.fail_from_two_on, [0, 1, 2, 3], "ray", 2, 1, "numbers")
    assert [outcome.result for outcome in outcomes] == [0, 1, None, None]
    assert outcomes[2].error == "sub-002: dose: all zero. Check it"
    assert outcomes[3].error == "ZeroDivisionError: third"


SLEEPERS = """
import signal, sys, pathlib, cluster_tasks
# as a program that was not started in the background of a shell
signal.signal(signal.SIGINT, signal.default_int_handler)
from ricenet.runtime.execution import run_tasks
run_tasks(cluster_tasks.sleep, [pathlib.Path(sys.argv[1])], "ray", 1, 1, "sleep")
"""


def test_ctrl_c_ends_the_tasks_and_leaves_the_cluster_up(cluster: RayNodes, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    driver = subprocess.Popen(
        [sys.executable, "-c", SLEEPERS, str(mark)], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL
    )
    with driver:
        wait_until(lambda: mark.exists() or driver.poll() is not None)
        driver.send_signal(signal.SIGINT)
        driver.wait(timeout=30)
    assert driver.returncode != 0
    wait_until(lambda: not psutil.pid_exists(int(mark.read_text())))
    assert len(cluster.raylets()) == 2


def has_lines(path: Path, count: int, address: str) -> bool:
    return path.exists() and path.read_text().count(address) >= count


@contextlib.contextmanager
def meanwhile(condition: Callable[[], bool], action: Callable[[], None]) -> Iterator[None]:
    """Act as soon as something is so, while the block is busy."""
    over = threading.Event()

    def act() -> None:
        while not condition():
            if over.wait(0.05):
                return
        action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_tasks_without_staging_stay_where_their_files_are(
    joined: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one machine holds all nodes here, so nodes that see other files are pretended
    monkeypatch.setattr(ray_cluster, "node_inspection", lambda: pretending(sees_on=HEAD))
    outcomes = run_tasks(cluster_tasks.where, range(3), "ray", 2, 1, "where")
    assert [outcome.result for outcome in outcomes] == [HEAD, HEAD, HEAD]


def test_nodes_without_tokens_are_refused_to_one_who_uses_them(
    joined: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "node_inspection", lambda: pretending(open_on=joined.other))
    with pytest.raises(RicenetError, match="RAY_AUTH_MODE is token here, but this Ray cluster has no token"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def pretending(sees_on: str = "", open_on: str = "") -> Callable[..., dict[str, Any]]:
    inspect = INSPECTION()

    def elsewhere(file: str | None, packages: tuple[str, ...]) -> dict[str, Any]:
        import ray

        address = ray.util.get_node_ip_address()
        return inspect(file, packages) | {"sees": address == sees_on, "open": address == open_on}

    return elsewhere


def test_a_task_that_cannot_be_read_on_a_node_says_why(
    joined: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_here = types.ModuleType("only_here")
    exec("def work(_): pass", only_here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    (outcome,) = run_tasks(only_here.work, [0], "ray", 1, 1, "unknown")
    assert outcome.error is not None
    assert "(RaySystemError): ModuleNotFoundError: No module named 'only_here'" in outcome.error


def test_a_task_that_kills_its_workers_fails_alone(joined: RayNodes) -> None:
    outcomes = run_tasks(cluster_tasks.die_on_one, range(3), "ray", 2, 1, "deaths")
    assert [outcome.result for outcome in outcomes] == [0, None, 2]
    assert outcomes[1].error == "its worker process ended without a word (killed, or out of memory), twice"


def test_more_than_any_node_has_is_refused_with_the_figures(joined: RayNodes) -> None:
    with pytest.raises(
        RicenetError, match=r"asks for 3 CPU\(s\) and 0 GPU.*the nodes have: 1 CPU\(s\) and 1"
    ):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 3, "where")


def test_a_node_with_other_software_is_named_with_what_differs(
    joined: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {**ray_cluster.versions_here(), "torch": "9.9"}
    monkeypatch.setattr(ray_cluster, "versions_here", lambda: ours)
    with pytest.raises(RicenetError, match=r"2 of 2 nodes .*Install the same ricenet\[ray\]") as caught:
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")
    for address in (HEAD, joined.other):
        assert f"- {address}: torch {version('torch')} instead of 9.9" in str(caught.value)


def test_a_node_that_does_not_answer_is_named(joined: RayNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "node_inspection", lambda: slow_inspection)
    monkeypatch.setattr(ray_cluster, "INSPECTION_SECONDS", 0.1)
    with pytest.raises(RicenetError, match=r"127.0.0.2: did not start a worker within 0.1 s"):
        run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")


def slow_inspection(*_: object) -> None:
    time.sleep(3)


def test_a_worker_has_the_share_of_a_gpu_that_was_asked_for(joined: RayNodes) -> None:
    outcomes = run_tasks(cluster_tasks.gpus_here, range(2), "ray", 2, 1, "gpus", gpus_per_worker=0.5)
    assert [outcome.result for outcome in outcomes] == ["0", "0"]


def test_tasks_do_not_wait_for_ever_for_a_node_with_room(
    joined: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "has_room", lambda *_: False)
    monkeypatch.setattr(run, "RETURN_SECONDS", 0.5)
    task = Copying("task", (), tmp_path / "task", tmp_path, steps=50)
    with pytest.raises(RicenetError, match=r"no node that has 1 CPU\(s\) and 0 GPU\(s\) came back"):
        run_tasks(cluster_tasks.count, [task], "ray", 1, 1, "counts", staging=staged)


def test_a_keeper_that_is_killed_ends_the_run_with_a_word(joined: RayNodes, tmp_path: Path) -> None:
    task = Copying("task", (), tmp_path / "task", tmp_path, steps=50)
    under_way = (tmp_path / "task" / "steps").exists
    with (
        meanwhile(under_way, joined.kill_keepers),
        pytest.raises(RicenetError, match=r"keeps what workers send has ended .*: run again"),
    ):
        run_tasks(cluster_tasks.count, [task], "ray", 1, 1, "counts", staging=staged)
    assert (tmp_path / "task" / "steps").exists()


def test_a_node_that_joins_later_is_compared_by_its_first_task(
    joined: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "cluster", forgetful(run.cluster))
    monkeypatch.setattr(run, "versions_here", lambda: {"torch": "9.9"})
    (outcome,) = run_tasks(cluster_tasks.where, [0], "ray", 1, 1, "where")
    expected = (
        f"a node that joined lately has torch {version('torch')} instead of 9.9: install the same there"
    )
    assert outcome.error == expected


def forgetful(join: Callable[[int], Any]) -> Callable[[int], Any]:
    @contextlib.contextmanager
    def joined(cpus: int) -> Iterator[ray_cluster.Cluster]:
        with join(cpus) as found:
            yield dataclasses.replace(found, known=frozenset())

    return joined


def test_a_task_whose_node_is_killed_goes_on_elsewhere(
    joined: RayNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = joined.other
    tasks = [Copying(f"task {k}", (), tmp_path / str(k), tmp_path, 15, side_by_side=2) for k in range(2)]

    def one_is_under_way() -> bool:
        return any(has_lines(task.folder / "steps", 5, other) for task in tasks)

    with caplog.at_level("INFO", logger="ricenet"), meanwhile(one_is_under_way, lambda: joined.kill(other)):
        outcomes = run_tasks(cluster_tasks.count, tasks, "ray", 2, 1, "counts", staging=staged)
    assert [outcome.error for outcome in outcomes] == [None, None]
    for outcome in outcomes:
        lines = (outcome.task.folder / "steps").read_text().splitlines()
        assert lines == outcome.result
        assert [line.split()[0] for line in lines] == [str(step) for step in range(1, 16)]
    (moved,) = [outcome for outcome in outcomes if any(other in line for line in outcome.result or ())]
    assert sum(other in line for line in moved.result or ()) >= 5
    assert any(message.startswith(f"{moved.task.name}: resumed after step") for message in caplog.messages)


def test_a_fold_whose_node_is_killed_ends_with_the_weights_of_an_undisturbed_training(
    joined: RayNodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    splits = write_subjects(tmp_path / "preprocessed")
    training = TRAINING.model_copy(update={"epochs": 6})
    tasks = plan(tmp_path, splits, ["dose"], training=training)
    undisturbed = [elsewhere(task, "undisturbed") for task in tasks]
    train_folds(undisturbed, SERIAL)

    def both_are_under_way() -> bool:
        return all((task.folder / CHECKPOINT).exists() for task in tasks)

    execution = ExecutionParams(backend="ray", workers=2, threads_per_worker=1)
    with (
        caplog.at_level("INFO", logger="ricenet"),
        meanwhile(both_are_under_way, lambda: joined.kill(joined.other)),
    ):
        train_folds(tasks, execution, SlowObserver(0.4, tmp_path / "begun"))
    assert any("resumed after epoch" in message for message in caplog.messages)
    for task, other in zip(tasks, undisturbed, strict=True):
        assert results(task) == results(other)
        assert not (task.folder / CHECKPOINT).exists()
