"""`ricenet serve`: a page and an API for single cases, for a department that has promoted a model."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.options import AllowedHosts, Host, Port
from ricenet.cli.predict import ModelUri, loaded_predictor
from ricenet.cli.running import log_to_stderr, mendable_errors

logger = logging.getLogger(__name__)

_OVER_THE_NETWORK = (
    "note: others reach this address over the network, and the service itself speaks plain HTTP: scans and "
    "the token would be read on the way. Put a proxy with TLS before it, and name the host that clients "
    "address with --allowed-host (docs/serve.md)"
)


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8741,
    allowed_host: AllowedHosts = None,
    waiting: Annotated[int, typer.Option(min=0, max=1000, help="Cases that may wait; more are refused.")] = 8,
    upload_mb: Annotated[float, typer.Option(min=0.001, max=16384, help="Most of one request.")] = 1024,
    case_minutes: Annotated[
        float, typer.Option(min=0.01, max=1440, help="Most that a prediction or an occlusion map may take.")
    ] = 30,
    keep_minutes: Annotated[
        float, typer.Option(min=0.01, max=1440, help="How long the result of a case is kept.")
    ] = 60,
    model: ModelUri = None,
) -> None:
    """Serve predictions of single cases at a page and by an API; stop it with Ctrl-C. Research use only.

    Clients prove themselves by the token in the environment variable RICENET_SERVE_TOKEN.
    """
    names = allowed_host or []
    if wrong := [name for name in names if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name)]:
        raise typer.BadParameter(f"--allowed-host {wrong[0]!r}; expected a name such as rice.example.org")
    log_to_stderr()
    with mendable_errors():
        from ricenet.config.params import read_params
        from ricenet.service.served_model import case_work
        from ricenet.service.server import run_service
        from ricenet.service.settings import LOCAL_HOSTS, ServiceSettings, token_of_environment
        from ricenet.training.ensemble_record import require_rice_task

        token = token_of_environment()
        params = read_params()
        registered, predictor = loaded_predictor(params, model)
        require_rice_task(predictor.ensemble.record, "the service gives")
        hosts = dict.fromkeys([*LOCAL_HOSTS, *([] if host in ("0.0.0.0", "::") else [host]), *names])
        settings = ServiceSettings(
            hosts=tuple(hosts),
            waiting=waiting,
            upload_mb=upload_mb,
            case_seconds=case_minutes * 60,
            kept_seconds=keep_minutes * 60,
        )
        if host not in LOCAL_HOSTS:
            logger.warning(_OVER_THE_NETWORK)
        run_service(Path(), case_work(registered, predictor, params.explain), settings, token, host, port)
