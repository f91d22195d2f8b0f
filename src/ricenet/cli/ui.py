"""`ricenet ui`: the MLflow web page of the project's store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.running import log_to_stderr, mendable_errors


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000,
    file: Annotated[Path, typer.Option("--params", help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Open the MLflow UI on this computer; stop it with Ctrl-C."""
    from ricenet.config import read_params
    from ricenet.tracking.store import open_store

    log_to_stderr()
    with mendable_errors():
        params = read_params(file).tracking
        store = open_store(Path(), params.uri, params.experiment)
    typer.echo(
        f"MLflow UI: http://127.0.0.1:{port}/#/experiments/{store.experiment_id} (starting, Ctrl-C stops it)"
    )
    sys.stdout.flush()
    # one worker and no job executor: a third of the start-up time and memory, enough for one person
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, environment)
