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
    """Open the MLflow UI on this computer; stop it with Ctrl-C.

    Where tracking.uri or MLFLOW_TRACKING_URI names a server, that server has the page: its address is
    printed.
    """
    from ricenet.config.params import read_params
    from ricenet.tracking.address import chosen_uri, is_server
    from ricenet.tracking.connection import open_store

    log_to_stderr()
    with mendable_errors():
        params = read_params(file).tracking
        uri = chosen_uri(params.uri)
        if is_server(uri):
            typer.echo(f"MLflow UI: {uri}")
            return
        store = open_store(Path(), params.uri, params.experiment)
    # without workflowType the page opens in its view for language models, whatever the experiment says
    page = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning"
    typer.echo(f"MLflow UI: http://127.0.0.1:{port}/{page} (starting, Ctrl-C stops it)")
    sys.stdout.flush()
    # one worker and no job executor: a third of the start-up time and memory, enough for one person
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # not an argument, which the list of processes would show: a database's address may hold a password
        "MLFLOW_BACKEND_STORE_URI": store.uri,
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1"]
    os.execve(sys.executable, command, environment)
