"""`ricenet check`: what is wrong with a raw cohort, before any of it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.options import PARAMS, ParamsFile
from ricenet.cli.running import log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.cohort.checked import CheckedSubject
    from ricenet.vocabulary import LabelNames, VariableSpec, Volumes

CohortFolder = Annotated[
    Path | None,
    typer.Argument(
        metavar="COHORT", help="A folder with participants.tsv; by default cohort.root of params.yaml."
    ),
]

MappingFile = Annotated[
    Path | None,
    typer.Option(help="JSON: how a BIDS dataset calls its files otherwise (docs/own-cohort.md)."),
]


def check(folder: CohortFolder = None, mapping: MappingFile = None, file: ParamsFile = PARAMS) -> None:
    """Report every problem of a raw cohort; exit status 1 if there is one."""
    from ricenet.cohort.checks import admit, check_cohort
    from ricenet.cohort.mapped_cohort import mapped_cohort

    log_to_stderr()
    with mendable_errors():
        root, volumes, variables = declared_cohort(folder, file)
        label_names = declared_labels(folder, file)
        with mapped_cohort(root, mapping, volumes) as given:
            report = given.in_own_names(
                check_cohort(given.folder, volumes, variables, label_names=label_names)
            )
        forbidden, doubtful = counted(report.subjects, file, required=folder is None)
        if report.problems:
            typer.echo(report.text())
        else:
            typer.echo(f"no problem found in {admit(report, exclude_faulty=False).summary()}")
            for note in report.notes:
                typer.echo(f"  {note.subject or note.file}: {note.found}")
        for text in doubtful:
            typer.echo(f"  {text}")
        if forbidden:
            typer.echo("\n  - ".join(["too few subjects for what params.yaml asks:", *forbidden]))
        if report.problems or forbidden:
            raise typer.Exit(1)


def counted(
    subjects: Sequence[CheckedSubject], file: Path = PARAMS, *, required: bool
) -> tuple[list[str], list[str]]:
    """What the numbers of subjects forbid, and what they make doubtful, as the parameter file has it.

    required: False where a cohort without any label may be one to predict, which needs no numbers.
    """
    from ricenet.cohort.counts import Demands, doubtful_by_counts, forbidden_by_counts
    from ricenet.config.params import read_params

    is_labelled = any(subject.label is not None for subject in subjects)
    if not file.is_file() or not (required or is_labelled) or not subjects:
        return [], []
    params = read_params(file)
    demands = Demands.of(params)
    return forbidden_by_counts(subjects, demands), doubtful_by_counts(subjects, demands.by, params.labels)


def declared_labels(folder: Path | None, file: Path = PARAMS) -> LabelNames:
    """The classes that the parameter file declares; outside a project, of a folder, the paper's two."""
    from ricenet.config.params import read_params
    from ricenet.vocabulary import LABELS

    outside = folder is not None and file == PARAMS and not file.is_file()
    return LABELS if outside else read_params(file).labels


def declared_cohort(
    folder: Path | None, file: Path = PARAMS
) -> tuple[Path, Volumes, tuple[VariableSpec, ...]]:
    """A cohort's folder, and the volumes and variables that the parameter file declares.

    Outside a project, a folder that is given is taken for the paper's volumes.
    """
    from ricenet.cohort.layout import is_there
    from ricenet.config.params import read_params
    from ricenet.runtime.errors import CohortError
    from ricenet.tracking.registry import DEMO_COHORT
    from ricenet.vocabulary import PAPER_VOLUMES

    if folder is not None and file == PARAMS and not file.is_file():
        return folder, PAPER_VOLUMES, ()
    params = read_params(file)
    if folder is None and params.cohort.root == DEMO_COHORT and not is_there(Path(DEMO_COHORT)):
        raise CohortError(
            f"{DEMO_COHORT} is not there yet: `dvc repro` makes it. To look at another cohort, name its "
            "folder"
        )
    return folder or Path(params.cohort.root), params.volumes, params.variables
