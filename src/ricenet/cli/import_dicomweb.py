"""`ricenet import dicomweb`: a hospital's PACS instead of an export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ricenet.cli.options import CaFile
from ricenet.cli.running import PrivateErrors, log_to_stderr, mendable_errors

if TYPE_CHECKING:
    from ricenet.pacs.fetch import Fetched

_MB = 2**20


def dicomweb(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Of the DICOMweb service, such as https://pacs/dicom-web.")
    ],
    patients: Annotated[
        Path,
        typer.Option(metavar="FILE", help="patient_id, and from_date and to_date if wanted (.csv or .tsv)."),
    ],
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the objects are kept (default: beside the list, its name with .dicom).",
        ),
    ] = None,
    ca_file: CaFile = None,
    silent_s: Annotated[
        float, typer.Option(min=1, help="Seconds without a byte after which the PACS is too slow.")
    ] = 60.0,
    requests_per_s: Annotated[
        float, typer.Option(min=0.1, help="How often the PACS is asked at most.")
    ] = 20.0,
) -> None:
    """Fetch listed patients' MRI, CT and radiotherapy objects from a PACS, for `ricenet import dicom`.

    Name and password come from RICENET_PACS_USER and RICENET_PACS_PASSWORD, or a token from
    RICENET_PACS_TOKEN. The same command fetches what is missing. Exit status 1 says that something does
    not come (docs/import.md).
    """
    from ricenet.pacs.connection import connect
    from ricenet.pacs.fetch import fetch_patients
    from ricenet.pacs.session import Limits
    from ricenet.runtime.errors import CohortError

    log_to_stderr()
    with mendable_errors(), PrivateErrors():
        folder = export or patients.with_name(f"{patients.stem}.dicom")
        pacs = connect(url, ca_file, Limits(silent_s=silent_s, requests_per_s=requests_per_s))
        fetched = fetch_patients(pacs, patients, folder)
        typer.echo(_told(fetched, folder, patients.with_name(f"{patients.stem}.map.csv")))
        for remark in fetched.remarks:
            typer.echo(f"warning: {remark}", err=True)
        if fetched.failures:
            listed = "".join(f"\n  - {failure}" for failure in fetched.failures)
            incomplete = fetched.patients - fetched.whole
            raise CohortError(f"{incomplete} of {fetched.patients} patient(s) are not complete{listed}")


def _told(fetched: Fetched, folder: Path, map_file: Path) -> str:
    left_out = ", ".join(f"{modality} {count}" for modality, count in sorted(fetched.left_out.items()))
    lines = [
        f"{fetched.patients} patient(s): {fetched.whole} complete",
        f"  {fetched.objects} object(s) fetched ({fetched.size_bytes / _MB:.1f} MB), "
        f"{fetched.there_before} there before; {fetched.series} series",
    ]
    if left_out:
        lines.append(f"  not fetched: series that the import does not read ({left_out})")
    if fetched.objects or fetched.there_before:
        command = shlex.join(["ricenet", "import", "dicom", str(folder), "data/mine", "--map", str(map_file)])
        lines += ["Next:", f"  {command}"]
    return "\n".join(lines)
