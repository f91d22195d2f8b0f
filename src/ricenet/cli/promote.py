"""`ricenet promote`: choosing, knowingly, which ensemble is evaluated on the test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli import completion
from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.config.params import Params


def promote(
    modality_set: Annotated[
        str,
        typer.Argument(
            metavar="MODALITY_SET",
            autocompletion=completion.modality_sets_or_best,
            help="Such as post_op+dose; or best: the highest pooled macro-F1, as in the report.",
        ),
    ],
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of its registered model; default: the newest.")
    ] = None,
    if_none: Annotated[
        bool, typer.Option("--if-none", help="Do nothing where any champion fits the data at hand.")
    ] = False,
    demo_only: Annotated[
        bool, typer.Option("--demo-only", help="Do nothing unless the cohort is data/demo.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it although the gate fails; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for the version's tags. No patient's data.")
    ] = None,
) -> None:
    """Make a registered ensemble its modality set's champion, if it passes the gate (docs/evidence.md).

    The next `dvc repro` lets the champion vote on the test set, and records that evaluation in
    models/test_ledger.tsv. Moving the alias `champion` in the MLflow web page does the same, but an
    ensemble that does not pass the gate is not let to vote.
    """
    from ricenet.config.params import read_params
    from ricenet.runtime.errors import ParamsError
    from ricenet.tracking import registry

    log_to_stderr()
    with mendable_errors():
        if force != bool(reason and reason.strip()):
            raise ParamsError("ricenet promote", ["--force and --reason TEXT belong together"])
        params = read_params()
        if demo_only and Path(params.cohort.root) != Path(registry.DEMO_COHORT):
            typer.echo(f"nothing promoted: the cohort is {params.cohort.root}, not {registry.DEMO_COHORT}")
            return
        typer.echo(_promoted(params, modality_set, version, if_none, reason))


def _promoted(
    params: Params, modality_set: str, version: int | None, if_none: bool, reason: str | None
) -> str:
    """Promote it, and say what was done."""
    from ricenet.evaluation.labels.record import read_any_evidence
    from ricenet.tracking import promotion, registry
    from ricenet.tracking.connection import open_store
    from ricenet.tracking.register_models import version_at_hand

    project, prefix = Path(), params.tracking.model_prefix
    store = open_store(project, params.tracking.uri, params.tracking.experiment)
    gate = promotion.Gate(project, store, prefix, params.seed, params.evidence.resamples)
    promoted = registry.champions(store, prefix).values() if if_none else ()
    if promoted and (able := promotion.able_champions(gate, promoted, params.tracking.vote_past_gate)):
        return f"nothing promoted: the champion is {', '.join(map(str, able))}"
    if modality_set == "best":
        modality_set = read_any_evidence().best_set
    if if_none and version is None:
        # the newest one may be of other settings, to which the project has since turned back
        version = version_at_hand(project, store, prefix, modality_set)
    champion = promotion.promote_through_gate(gate, modality_set, version, reason)
    return (
        f"{champion} is now the champion; `dvc repro` lets it vote on the test set\n"
        f"Next:\n  dvc repro\n  {_prediction(params, modality_set)}"
    )


def _prediction(params: Params, modality_set: str) -> str:
    """A prediction by its champion, with what a case has to have."""
    from ricenet.vocabulary import volumes_and_recipe

    members = params.volumes.members(volumes_and_recipe(modality_set)[0])
    needed = [spec.name for spec in params.volumes if spec.required or spec in members]
    return " ".join(["ricenet predict", *(f"--volume {name}=FILE" for name in needed)])
