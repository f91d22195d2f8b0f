"""`ricenet send`: results that `ricenet predict --dicom-out` wrote, into a PACS."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ricenet.cli.options import CaFile
from ricenet.cli.running import PrivateErrors, log_to_stderr, mendable_errors

logger = logging.getLogger(__name__)


def send(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of DICOM files (.dcm).")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Of the PACS's DICOMweb service.")],
    ca_file: CaFile = None,
) -> None:
    """Store results in a PACS by DICOMweb (STOW-RS); what is there already is not doubled.

    Name and password, or a token, come from the environment: RICENET_PACS_USER, _PASSWORD, _TOKEN.
    """
    from ricenet.pacs.connection import connect
    from ricenet.pacs.storing import store_files
    from ricenet.runtime.errors import ResultError

    log_to_stderr()
    with mendable_errors(), PrivateErrors():
        files = sorted(folder.glob("*.dcm"))
        if not files:
            raise ResultError(
                "no DICOM file (.dcm) lies in the folder. Name the folder of results in that of "
                "`ricenet predict --dicom-out`"
            )
        count = store_files(connect(url, ca_file), files)
    logger.info("%d object(s) are stored", count)
