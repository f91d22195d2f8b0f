"""`ricenet import`: raw cohorts from what hospitals and archives have on disk or in a PACS."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.import_collections import burdenko, cfb_gbm, cohort_next
from ricenet.cli.import_dicomweb import dicomweb
from ricenet.cli.options import PARAMS, ParamsFile
from ricenet.cli.running import PrivateErrors, log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.importing.cohort_folder import PatientOutcome
    from ricenet.vocabulary import Volumes

import_app = typer.Typer(
    no_args_is_help=True, help="Make a raw cohort, without identifiers, from files on disk or a PACS."
)

import_app.command("burdenko")(burdenko)
import_app.command("cfb-gbm")(cfb_gbm)
import_app.command("dicomweb")(dicomweb)


ClinicalFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="patient_id with labels, rt_end_date and more (.csv or .tsv)."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Who is which subject (default: beside the map, its name with .key.csv)."
    ),
]
UnmatchedOk = Annotated[
    bool,
    typer.Option(
        "--unmatched-ok", help="Import although patient_ids of the clinical table look like others."
    ),
]


@import_app.command("dicom")
def dicom(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The folder of the DICOM export.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The cohort's folder, such as data/mine.")],
    map_file: Annotated[
        Path,
        typer.Option(
            "--map", metavar="FILE", help="Which series are used for what (.csv); proposed if missing."
        ),
    ],
    clinical: ClinicalFile = None,
    key: KeyFile = None,
    file: ParamsFile = PARAMS,
    unmatched_ok: UnmatchedOk = False,
) -> None:
    """Import MRI and dose from DICOM; the first call proposes the map, the second imports (docs/import.md).

    Names, identifiers, dates and UIDs stay behind. A faulty patient does not stop the others; exit status
    1 says that there was one.
    """
    from ricenet.config.params import read_params
    from ricenet.importing.cohort_folder import FAILED
    from ricenet.importing.dicom_export import ImportPaths, import_export, propose
    from ricenet.importing.import_cohort import reasons
    from ricenet.runtime.errors import CohortError

    log_to_stderr()
    with mendable_errors(), PrivateErrors():
        params = read_params(file)
        paths = ImportPaths(source, map_file, key or map_file.with_name(f"{map_file.stem}.key.csv"), output)
        if not paths.is_mapped:
            again = ["--map", str(map_file)]
            again += [] if clinical is None else ["--clinical", str(clinical)]
            again += [] if key is None else ["--key", str(key)]
            again += [] if file == PARAMS else ["--params", str(file)]
            again += ["--unmatched-ok"] if unmatched_ok else []
            typer.echo(_proposed(propose(paths, params.volumes), map_file, params.volumes))
            typer.echo(_second_call([str(source), str(output), *again], clinical is not None))
            return
        outcomes = import_export(
            paths, clinical, params.volumes, params.seed, params.execution, unmatched_ok, params.labels
        )
        typer.echo(_imported(outcomes, output))
        if missing := reasons(outcomes):
            typer.echo(f"Not in the cohort:\n{missing}", err=True)
        if failed := sum(outcome.status == FAILED for outcome in outcomes):
            raise CohortError(
                f"{failed} of {len(outcomes)} patient(s) could not be imported; the others are complete"
            )


def _proposed(progress: Counter[str], map_file: Path, volumes: Volumes) -> str:
    needed = ", ".join(spec.name for spec in volumes.required)
    return (
        f"{map_file}: a proposal for {progress.total()} patient(s); nothing is imported yet\n"
        f"  {progress['complete']} complete: {needed} are proposed\n"
        f"  {progress['undecided']} undecided: rows with the role ? wait for your decision\n"
        f"  {progress['incomplete']} incomplete: not every one of {needed} has a candidate\n"
        f"Look over every row, and correct the column role ({', '.join(volumes.names)}, planning_ct,\n"
        "or nothing)."
    )


def _second_call(words: Sequence[str], is_labelled: bool) -> str:
    """The call that imports, as it is typed. words: the arguments of this one."""
    unlabelled = (
        ""
        if is_labelled
        else "Without --clinical FILE (patient_id, label, rt_end_date) nobody has a label.\n"
    )
    return f"{unlabelled}Next:\n  {shlex.join(['ricenet', 'import', 'dicom', *words])}"


def _imported(outcomes: Sequence[PatientOutcome], output: Path) -> str:
    counts = Counter(outcome.status for outcome in outcomes)
    listed = ", ".join(f"{counts[status]} {status}" for status in ("imported", "excluded", "failed"))
    return f"{len(outcomes)} patient(s): {listed}\n{cohort_next(output)}"
