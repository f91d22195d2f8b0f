"""`ricenet status` and `ricenet open`: where the project stands, and its pages."""

from __future__ import annotations

import json
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ricenet.cli.running import mendable_errors

EVERY_TIME = "always changed"
"""What DVC says of stages that run whatever changed."""


def status(
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not ask DVC what is out of date, which takes seconds.")
    ] = False,
) -> None:
    """Show what has run, what is out of date, the result, the champion, the last look at the test set.

    Ends with the command that leads on.
    """
    from ricenet.report.status import status_lines

    with mendable_errors():
        require_project(Path())
        changed = None if fast else out_of_date(Path())
        promoted = None if fast else promoted_now()
        for what, text in status_lines(Path(), changed, promoted):
            typer.echo(f"{what + ':':<10}{text}")


def open_page(
    page: Annotated[
        Literal["report", "quality", "explain", "ui"], typer.Argument(metavar="PAGE", help="Which page.")
    ],
    print_only: Annotated[bool, typer.Option("--print", help="Print where it is; open nothing.")] = False,
) -> None:
    """Open the report, the quality pages or the explanations in the browser; `ui` starts MLflow's page."""
    from ricenet.cli.ui import ui
    from ricenet.report.status import PAGES, page_of
    from ricenet.runtime.errors import ResultError

    if page == "ui":
        ui()
        return
    with mendable_errors():
        require_project(Path())
        found = page_of(Path(), page)
        if found is None:
            raise ResultError(f"{PAGES[page]} is not there yet: `dvc repro {page}` makes it")
        typer.echo(str(found))
        if not print_only and not webbrowser.open(found.absolute().as_uri()):
            typer.echo("no browser was found: open the file yourself", err=True)


def require_project(folder: Path) -> None:
    """Raise ResultError where a folder holds neither the project's files nor its results."""
    from ricenet.runtime.errors import ResultError

    if not any((folder / name).exists() for name in ("params.yaml", "dvc.yaml", "work")):
        raise ResultError(
            "no project here: params.yaml, dvc.yaml and work/ are missing. Change into the project's folder"
        )


def out_of_date(project: Path) -> dict[str, list[str]]:
    """By stage, in the pipeline's order, what changed since it ran; without the stages that run every time.

    Raises ResultError: DVC cannot say.
    """
    from ricenet.runtime.errors import ResultError
    from ricenet.runtime.project_health import stages_of

    # what `dvc repro` looks at, not the demo's cohort where the project uses another
    asked = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", "dvc.yaml"]
    done = subprocess.run(asked, cwd=project, capture_output=True, text=True, check=False)
    try:
        found: dict[str, list[Any]] = json.loads(done.stdout)
    except json.JSONDecodeError:
        why = done.stderr.strip().splitlines()
        raise ResultError(
            f"`dvc status` does not answer ({why[-1] if why else 'no message'}). Run it in the project's "
            "folder, or `ricenet status --fast`"
        ) from None
    reasons = {
        stage: [_words(one) for one in changes if one != EVERY_TIME] for stage, changes in found.items()
    }
    order = {stage: place for place, stage in enumerate(stages_of(project / "dvc.yaml"))}
    changed = sorted((stage for stage, why in reasons.items() if why), key=lambda one: order.get(one, -1))
    return {stage: reasons[stage] for stage in changed}


def promoted_now() -> dict[str, str] | None:
    """Modality set -> the champion's digest as MLflow has it; None where it has no store, or no answer."""
    from ricenet.config.params import PARAMS_FILE, read_params
    from ricenet.runtime.errors import RegistryError
    from ricenet.tracking.address import chosen_uri

    if not PARAMS_FILE.is_file():
        return None
    tracking = read_params().tracking
    if chosen_uri(tracking.uri) is None and not Path("mlflow/mlflow.db").is_file():
        return None
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.registry import champions

    try:
        store = open_store(Path(), tracking.uri, tracking.experiment)
        found = champions(store, tracking.model_prefix)
    except RegistryError as error:
        typer.echo(f"note: {error}", err=True)
        return None
    return {name: champion.digest for name, champion in found.items()}


def _words(change: Any) -> str:
    """One change: a sentence, or {"changed deps": {path: how}}.

    >>> _words({"changed deps": {"params.yaml": {"seed": "modified"}, "src/ricenet/cohort": "modified"}})
    'params.yaml, src/ricenet/cohort'
    """
    if not isinstance(change, dict):
        return str(change)
    return ", ".join(str(path) for places in change.values() for path in places)
