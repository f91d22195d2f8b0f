"""`ricenet tracking start` in a process of its own, as a department would run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from tracking_servers import free_port, wait_until

from ricenet.tracking.runs import PARENT

ADMIN, PASSWORD = "admin", "correct-horse-battery"


class DepartmentServer:
    """A server in a folder, started at once."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, free_port()
        self.log = folder.parent / f"{folder.name}.log"
        command = [sys.executable, "-c", "from ricenet.cli import app; app()", "tracking", "start"]
        command += ["--folder", str(folder), "--port", str(self.port), *options]
        environment = os.environ | {"RICENET_SERVER_PASSWORD": PASSWORD}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(lambda: self.process.poll() is not None or "(Ctrl-C stops it)" in self.said, 200)
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def ask(self, path: str, content: dict[str, str] | None = None) -> Any:
        """One request of the administrator's."""
        request = urllib.request.Request(f"{self.uri}/api/2.0/mlflow/{path}")
        signed = b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {signed}")
        if content is not None:
            request.data = json.dumps(content).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def contents(uri: str, experiments: Sequence[str]) -> dict[str, Any]:
    """Everything that is asked for by name, without ids: runs with all that they hold, versions, aliases."""
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = [e for e in client.search_experiments() if e.name in experiments]
    runs = client.search_runs([e.experiment_id for e in found], max_results=1000) if found else []
    of = {e.experiment_id: e.name for e in found}
    names = {
        run.info.run_id: f"{of[run.info.experiment_id]}: {run.info.run_name} {run.data.tags['ricenet.key']}"
        for run in runs
    }
    ours = {
        names[run.info.run_id]: {
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "params": dict(run.data.params),
            "tags": {k: v for k, v in run.data.tags.items() if not k.startswith("ricenet.migrated")}
            | {PARENT: names.get(run.data.tags.get(PARENT, ""), "")},
            "metrics": {
                key: sorted(
                    (p.step, p.timestamp, repr(p.value))
                    for p in client.get_metric_history(run.info.run_id, key)
                )
                for key in run.data.metrics
            },
            "models": len(run.outputs.model_outputs) if run.outputs else 0,
        }
        for run in runs
    }
    assert len(ours) == len(runs), "a run is there twice"
    models = {
        model.name: {
            "aliases": {name: str(number) for name, number in model.aliases.items()},
            "tags": dict(model.tags),
            "description": model.description,
            "versions": [
                (
                    str(version.version),
                    version.description,
                    {k: v for k, v in version.tags.items() if not k.startswith("ricenet.migrated")},
                    names.get(str(version.run_id)),
                )
                for version in sorted(
                    client.search_model_versions(f"name = '{model.name}'"), key=lambda v: int(v.version)
                )
            ],
        }
        for model in client.search_registered_models()
    }
    return {"runs": ours, "models": models}
