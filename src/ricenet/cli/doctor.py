"""`ricenet doctor`: what a support person asks for first, to be copied into a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ricenet.cli.options import PARAMS, AsJson, ParamsFile

if TYPE_CHECKING:
    from ricenet.config.params import Params
    from ricenet.runtime.probe import Answer, Observation

WRITTEN = ("work", "models", "mlflow")
"""Folders in which stages write."""


def doctor(
    as_json: AsJson = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Look at the installation and the project; exit status 1 if something needs attention.

    Changes nothing and takes seconds. The text holds no names, no patients and no whole paths: copy it into
    a request for help.
    """
    from ricenet.runtime.probe import anonymous

    found = observations(Path(), file)
    attention = sum(one.answer.status == "attention" for one in found)
    asked = datetime.now(UTC).isoformat(timespec="minutes")
    if as_json:
        probes = [
            {"name": one.name, "status": one.answer.status, "text": anonymous(one.answer.text)}
            for one in found
        ]
        typer.echo(json.dumps({"utc": asked, "attention": attention, "probes": probes}, indent=2))
    else:
        lines = [f"ricenet doctor, {asked}", *map(str, found)]
        lines.append(f"{attention or 'nothing'} of {len(found)} need(s) attention")
        typer.echo(anonymous("\n".join(lines)))
    if attention:
        raise typer.Exit(1)


def observations(project: Path, file: Path) -> list[Observation]:
    """All answers, in the order in which they help; whatever is broken is one of them."""
    from ricenet.runtime import installation, project_health
    from ricenet.runtime.probe import observe

    params, settings = _params(file)
    needed = {} if params is None else _needed(params)
    probes: list[tuple[str, Callable[[], Answer]]] = [
        ("packages", installation.packages),
        ("extras", partial(installation.extras, needed)),
        ("system", installation.system),
        ("GPU", installation.graphics),
        ("parameters", lambda: settings),
        ("commit", partial(project_health.commit, project)),
        ("disk", partial(project_health.disk, project)),
    ]
    if settings.status != "absent":
        probes += [
            *((name, partial(project_health.permission, project / name)) for name in WRITTEN),
            ("store", partial(project_health.store, project)),
            ("stages", partial(project_health.running, project)),
            ("pipeline", partial(project_health.pipeline, project)),
            ("remote", partial(project_health.remote, project)),
            ("last failure", partial(project_health.last_failure, project)),
        ]
    if params is not None:
        probes += [
            ("cohort", partial(_cohort, project, params.cohort.root)),
            ("tracking", partial(_tracking, project, params)),
        ]
    return [observe(name, look) for name, look in probes]


def _params(file: Path) -> tuple[Params | None, Answer]:
    """The parameters, if they are valid, and what there is to say of them."""
    from ricenet.config.params import read_params
    from ricenet.runtime.errors import ParamsError
    from ricenet.runtime.probe import Answer

    if not file.is_file():
        return None, Answer("no params.yaml here: only the installation is looked at", "absent")
    try:
        params = read_params(file)
    except ParamsError as error:
        found = f"{len(error.problems)} problem(s): ricenet params show names them"
        return None, Answer(found, "attention")
    except (OSError, UnicodeDecodeError) as error:
        return None, Answer(f"cannot be read ({type(error).__name__})", "attention")
    cube = params.preprocessing
    folds = "a fold a site" if params.split.by == "site" else f"{params.split.folds} folds"
    sets = f"{len(params.modality_sets)} modality set(s), {folds}"
    return params, Answer(
        f"valid: {sets}, cube of {cube.cube_voxels} voxels of {cube.spacing_mm:g} mm, "
        f"execution.backend {params.execution.backend}"
    )


def _cohort(project: Path, root: str) -> Answer:
    from ricenet.cohort.layout import is_there
    from ricenet.runtime.probe import Answer
    from ricenet.runtime.project_health import permission
    from ricenet.tracking.registry import DEMO_COHORT

    if root == DEMO_COHORT and not is_there(project / root):
        return Answer(f"{root} is not there: dvc repro makes it", "absent")
    return permission(project / root, write=False)


def _needed(params: Params) -> dict[str, bool]:
    return {
        "ray": params.execution.backend == "ray",
        "pdf": params.report.pdf,
        "postgres": (params.tuning.storage or "").startswith("postgresql"),
    }


def _tracking(project: Path, params: Params) -> Answer:
    from ricenet.tracking.tracking_health import tracking

    return tracking(project, params.tracking.uri, params.tracking.experiment)
