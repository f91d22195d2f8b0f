"""`ricenet phantom`: write a synthetic cohort."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.options import PARAMS, ParamsFile
from ricenet.cli.running import log_to_stderr, mendable_errors


def phantom(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder for the cohort.")],
    subjects: Annotated[
        int | None, typer.Option(min=2, help="How many heads (default: phantom.subjects).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Same seed, same bytes (default: phantom.seed).")
    ] = None,
    dicom: Annotated[
        bool,
        typer.Option("--dicom", help="Write an archive's export in DICOM instead, to practise the import."),
    ] = False,
    file: ParamsFile = PARAMS,
) -> None:
    """Write a synthetic cohort with a documented cause and its ground truth (docs/phantom.md)."""
    from ricenet.config.params import read_params
    from ricenet.phantom.dicom.export import write_dicom_phantom
    from ricenet.phantom.mechanism import mechanism_named
    from ricenet.phantom.scanners import SiteDesign
    from ricenet.phantom.write_cohort import with_rice_share, write_phantom
    from ricenet.project.installed_code import require_recorded_code

    log_to_stderr()
    with mendable_errors():
        # in a project this is a stage too
        require_recorded_code(Path())
        params = read_params(file)
        settings = params.phantom
        count = settings.subjects if subjects is None else subjects
        seed = settings.seed if seed is None else seed
        mechanism = mechanism_named(settings.mechanism)
        if settings.rice_share is not None:
            mechanism = with_rice_share(mechanism, settings.rice_share, count, seed)
        write, what = (
            (write_dicom_phantom, "patients as DICOM")
            if dicom
            else (
                partial(
                    write_phantom,
                    single_fraction_share=settings.single_fraction_share,
                    visits=settings.visits,
                ),
                "subjects",
            )
        )
        write(
            folder,
            count,
            seed,
            mechanism,
            test_fraction=settings.test_fraction,
            spacing_mm=settings.spacing_mm,
            controls=settings.controls,
            volumes=params.volumes,
            sites=SiteDesign(**settings.sites.model_dump()) if settings.sites else None,
            backend=params.execution.backend,
            workers=params.execution.workers,
        )
        typer.echo(f"{count + settings.controls} synthetic {what} in {folder}")
        typer.echo(f"Next:\n  {_what_follows(folder, dicom)}")


def _what_follows(folder: Path, dicom: bool) -> str:
    """The import of an export, which belongs outside the project as a real one does; else the check."""
    if not dicom:
        return shlex.join(["ricenet", "check", str(folder)])
    table, map_file = folder / "clinical.csv", folder.with_name(f"{folder.name}-map.csv")
    words = ["ricenet", "import", "dicom", str(folder), "data/mine", "--map", str(map_file)]
    return shlex.join([*words, "--clinical", str(table)])
