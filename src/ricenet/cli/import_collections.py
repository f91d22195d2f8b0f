"""`ricenet import burdenko` and `ricenet import cfb-gbm`: public collections that are on the user's disk."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.options import PARAMS, ParamsFile
from ricenet.cli.running import PrivateErrors, log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.importing.collections.collection import ImportedCollection

OutputFolder = Annotated[
    Path, typer.Argument(metavar="OUT", help="The cohort's folder; an import goes on where it was killed.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Which patient is which subject (default: OUT.key.csv beside OUT)."
    ),
]

AllVisits = Annotated[
    bool,
    typer.Option(
        "--all-visits", help="Import further follow-ups beside the first event, as visits (docs/visits.md)."
    ),
]


def burdenko(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder of the collection's DICOM files, any layout.")
    ],
    clinical_table: Annotated[
        Path, typer.Argument(metavar="CLINICAL_CSV", help="The collection's clinical table.")
    ],
    output: OutputFolder,
    key: KeyFile = None,
    follow_up: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Take first events at follow-up N alone (default: at any)."),
    ] = None,
    include_distant: Annotated[
        bool, typer.Option("--include-distant", help="Take distant progression as recurrence.")
    ] = False,
    include_low_confidence: Annotated[
        bool,
        typer.Option("--include-low-confidence", help="Take `response, pseudo progression` as RICE."),
    ] = False,
    date_tolerance: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="DAYS",
            help="How far an event's MRI may be from its follow-up's date, if none is on it.",
        ),
    ] = 0,
    all_visits: AllVisits = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Import Burdenko-GBM-Progression, labelled by its follow-up (docs/public-cohorts.md)."""
    from ricenet.config.params import read_params
    from ricenet.importing.collections.burdenko import import_burdenko
    from ricenet.importing.collections.burdenko_events import LabelRules
    from ricenet.importing.collections.collection import Where

    log_to_stderr()
    with mendable_errors(), PrivateErrors():
        params = read_params(file)
        rules = LabelRules(include_distant, include_low_confidence, follow_up)
        where = Where(source, output, key or _beside(output))
        imported = import_burdenko(
            where,
            clinical_table,
            rules,
            date_tolerance,
            params.volumes,
            params.seed,
            params.execution,
            all_visits=all_visits,
        )
        _report(imported, output)


def cfb_gbm(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder of the patients' folders (001, 002, ...).")
    ],
    tables: Annotated[
        Path, typer.Argument(metavar="TABLES", help="Folder of the collection's .tsv tables, any versions.")
    ],
    output: OutputFolder,
    key: KeyFile = None,
    follow_up: Annotated[
        int | None,
        typer.Option(min=1, max=2, metavar="N", help="Take events at visit tN alone (default: t1, else t2)."),
    ] = None,
    weak_labels: Annotated[
        bool,
        typer.Option(
            "--weak-labels", help="Write the weak labels as labels; never quote an accuracy on them."
        ),
    ] = False,
    all_visits: AllVisits = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Import CFB-GBM, without labels by default (docs/public-cohorts.md)."""
    from ricenet.config.params import read_params
    from ricenet.importing.collections.cfb_gbm import import_cfb_gbm
    from ricenet.importing.collections.collection import Where

    log_to_stderr()
    with mendable_errors(), PrivateErrors():
        params = read_params(file)
        where = Where(source, output, key or _beside(output))
        settings = params.volumes, params.execution
        imported = import_cfb_gbm(where, tables, follow_up, weak_labels, *settings, all_visits=all_visits)
        _report(imported, output)


def _report(imported: ImportedCollection, output: Path) -> None:
    # a patient whose files cannot be used is reported and no failure: the archive's files are as they are
    typer.echo(imported.text())
    typer.echo(cohort_next(output))


def cohort_next(output: Path) -> str:
    """What follows an import: `cohort add` checks all that `check` does, before it changes anything."""
    return f"Next:\n  {shlex.join(['ricenet', 'cohort', 'add', str(output)])}"


def _beside(output: Path) -> Path:
    """The key's place where none is named: *.key.csv is kept out of git."""
    place = output.absolute()
    return place.with_name(f"{place.name}.key.csv")
