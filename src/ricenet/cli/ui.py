"""`ricenet ui`: the MLflow web page of the project's store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from ricenet.cli.options import PARAMS, ParamsFile, Port
from ricenet.cli.running import log_to_stderr, mendable_errors


def ui(
    port: Port = 5000,
    file: ParamsFile = PARAMS,
) -> None:
    """Start MLflow's page on this computer: modality sets by macro-F1, with interval, AUC and gate.

    Ctrl-C stops it. Where tracking.uri or MLFLOW_TRACKING_URI names a server, that server has the page: its
    address is printed.
    """
    from ricenet.config.params import read_params
    from ricenet.tracking.address import chosen_uri, is_server
    from ricenet.tracking.connection import mlflow_errors, open_store
    from ricenet.tracking.scores_view import page_of, share_view
    from ricenet.tracking.server.start import require_port

    log_to_stderr()
    with mendable_errors():
        params = read_params(file).tracking
        uri = chosen_uri(params.uri)
        if uri is not None and is_server(uri):
            typer.echo(f"MLflow UI: {_page_of_server(uri, params.experiment)}")
            return
        require_port("127.0.0.1", port)
        store = open_store(Path(), params.uri, params.experiment)
        with mlflow_errors(store.uri):
            share_view(store)
    address = f"http://127.0.0.1:{port}/{page_of(store.experiment_id)}"
    typer.echo(f"MLflow UI: {address} (starting, Ctrl-C stops it)")
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


def _page_of_server(uri: str, experiment: str) -> str:
    """The address of a server's page; without the experiment's place where the server does not say it."""
    from ricenet.runtime.errors import RegistryError
    from ricenet.tracking.connection import experiment_at
    from ricenet.tracking.scores_view import TAG, page_of

    # a server that does not answer at once has its page all the same
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "5"
    try:
        found = experiment_at(uri, experiment)
    except RegistryError as error:
        typer.echo(f"note: {error}", err=True)
        return uri
    return uri if found is None else f"{uri.rstrip('/')}/{page_of(found.experiment_id, TAG in found.tags)}"
