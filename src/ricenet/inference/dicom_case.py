"""A new case from three folders of DICOM files, imported into a temporary raw subject."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.importing.dose.statement import DoseStatement
from ricenet.importing.dose.treatment import instances_of
from ricenet.importing.import_subject import SubjectWriter
from ricenet.importing.sources import PatientSource
from ricenet.inference.case import CASE, CaseFiles
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.vocabulary import MODALITIES, PAPER_VOLUMES, Modality

logger = logging.getLogger(__name__)

_OPTION = {"post_op": "--post-op", "event": "--event", "dose": "--dose"}


@contextlib.contextmanager
def case_files(given: CaseFiles, seed: int) -> Iterator[CaseFiles]:
    """The case's NIfTI files for as long as the block lasts: those given, or made from DICOM folders.

    Folders hold one MR series each, and under `dose` the RTDOSE with its RTPLAN, and the planning CT
    where the dose lies in its space. fractions, prescription_gy, dose_of: as for files; the plan must agree.
    Raises CohortError: files and folders mixed, or what the folders hold cannot be used.
    """
    folders = [modality for modality in MODALITIES if given.scans[modality].is_dir()]
    if not folders:
        yield given
        return
    if missing := [_OPTION[modality] for modality in MODALITIES if not given.scans[modality].exists()]:
        raise CohortError(f"{CASE}: {', '.join(missing)}: no such file or folder. Correct the path")
    if len(folders) < len(MODALITIES):
        names = ", ".join(_OPTION[modality] for modality in folders)
        raise CohortError(
            f"{CASE}: {names} is a folder (DICOM), the others are files. Give three folders or three NIfTI "
            "files: positions in a DICOM export and in a converted file need not agree"
        )
    with tempfile.TemporaryDirectory(prefix="ricenet-dicom-") as folder:
        raw = RawSubject(Path(folder), CASE)
        try:
            SubjectWriter(_source(given), seed)(raw)
        except SourceError as error:
            raise CohortError(f"{CASE}: {error}") from None
        scans = {modality: raw.scan(modality) for modality in MODALITIES}
        yield CaseFiles(scans["post_op"], scans["event"], scans["dose"])


def _source(given: CaseFiles) -> PatientSource:
    trees = {modality: _tree(given, modality) for modality in MODALITIES}
    series = {"post_op": _only_mr(trees["post_op"], "post_op"), "event": _only_mr(trees["event"], "event")}
    of_dose = {kind: instances_of(trees["dose"].series, kind) for kind in ("RTDOSE", "RTPLAN", "RTSTRUCT")}
    cts = tuple(s for s in trees["dose"].series if s.kind == "CT")
    if not of_dose["RTDOSE"]:
        raise SourceError(
            "no RTDOSE in the folder of --dose", "Name the folder that holds it, with its RTPLAN and CT."
        )
    objects = [series["post_op"].first, series["event"].first, *of_dose["RTDOSE"]]
    _require_one_patient([*objects, *of_dose["RTPLAN"], *of_dose["RTSTRUCT"], *(s.first for s in cts)])
    stated = DoseStatement(None, given.dose_of, given.fractions, given.prescription_gy)
    doses = tuple(ChosenDose(instance, stated) for instance in of_dose["RTDOSE"])
    return PatientSource(PAPER_VOLUMES, series, doses, of_dose["RTPLAN"], of_dose["RTSTRUCT"], cts)


def _tree(given: CaseFiles, modality: Modality) -> DicomTree:
    try:
        tree = read_tree(given.scans[modality])
    except CohortError as error:
        raise CohortError(f"{CASE}: {_OPTION[modality]}: {error}") from None
    for found, count in Counter(unusable.found for unusable in tree.unusable).items():
        logger.warning("warning: %s: %d file(s) left out: %s", _OPTION[modality], count, found)
    return tree


def _only_mr(tree: DicomTree, modality: Modality) -> Series:
    found = [series for series in tree.series if series.kind == "MR"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError(
            f"no MR series in the folder of {_OPTION[modality]}", "Name the folder that holds the T1ce."
        )
    sizes = ", ".join(f"{series.slices} slices" for series in found)
    raise SourceError(
        f"{len(found)} MR series in the folder of {_OPTION[modality]} ({sizes})",
        "Name the folder of the T1ce series alone, or use ricenet import dicom, whose map chooses.",
    )


def _require_one_patient(objects: list[Instance]) -> None:
    count = len({instance.patient_id for instance in objects})
    if count > 1:
        raise SourceError(
            f"the three folders hold objects of {count} PatientIDs",
            "Check that they are one patient's; where an export gave a patient several IDs, export it again.",
        )
