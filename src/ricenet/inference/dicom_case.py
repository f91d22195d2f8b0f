"""A new case from folders of DICOM files, one per volume, imported into a temporary raw subject."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ricenet.cohort.layout import RawSubject
from ricenet.importing.dicom.instances import DicomTree, Instance, Series
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.dose.course_dose import ChosenDose
from ricenet.importing.dose.statement import CORRECTS, NOTHING_STATED
from ricenet.importing.dose.treatment import instances_of
from ricenet.importing.import_subject import SubjectWriter
from ricenet.importing.sources import PatientSource
from ricenet.inference.case import CASE, CaseFiles, option
from ricenet.runtime.errors import CohortError, SourceError
from ricenet.runtime.files import read_json
from ricenet.vocabulary import Volumes

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def case_files(
    given: CaseFiles, volumes: Volumes, seed: int, source: PatientSource | None = None
) -> Iterator[CaseFiles]:
    """The case's NIfTI files for as long as the block lasts: those given, or made from DICOM folders.

    Folders of MRIs hold one MR series each, that of the dose the RTDOSE with its RTPLAN, and the planning CT
    where the dose lies in its space. What is stated of the dose counts before its plan.
    source: what `case_source` found, where it was asked before.
    Raises CohortError: files and folders mixed, or what the folders hold cannot be used.
    """
    source = source or case_source(given, volumes)
    if source is None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="ricenet-dicom-") as folder:
        raw = RawSubject(Path(folder), CASE, volumes)
        try:
            SubjectWriter(source, seed)(raw)
        except SourceError as error:
            raise CohortError(f"{CASE}: {error}") from None
        _report_corrections(raw)
        yield replace(given, volumes={name: raw.scan(name) for name in given.volumes}, stated=NOTHING_STATED)


def case_source(given: CaseFiles, volumes: Volumes) -> PatientSource | None:
    """The objects that a case's DICOM folders hold, by their headers; None of NIfTI files.

    Raises CohortError: as `case_files`.
    """
    folders = [name for name, path in given.volumes.items() if path.is_dir()]
    if not folders:
        return None
    if missing := [option(name) for name, path in given.volumes.items() if not path.exists()]:
        raise CohortError(f"{CASE}: {', '.join(missing)}: no such file or folder. Correct the path")
    if len(folders) < len(given.volumes):
        raise CohortError(
            f"{CASE}: {', '.join(map(option, folders))} is a folder (DICOM), the others are files. Give "
            "folders or NIfTI files alone: positions in a DICOM export and in a converted file need not agree"
        )
    try:
        return _source(given, volumes)
    except SourceError as error:
        raise CohortError(f"{CASE}: {error}") from None


def _report_corrections(raw: RawSubject) -> None:
    """Say where an option counts before the plan: the record of decisions goes with the temporary files."""
    decisions = read_json(raw.dose_sidecar)["Decisions"] if raw.dose_sidecar.exists() else ()
    for decision in decisions:
        if CORRECTS in decision:
            logger.warning("warning: %s: %s", CASE, decision)


def _source(given: CaseFiles, volumes: Volumes) -> PatientSource:
    trees = {name: _tree(path, name) for name, path in given.volumes.items()}
    images = {spec.name: _only_mr(trees[spec.name], spec.name) for spec in volumes.mris if spec.name in trees}
    of_dose = () if volumes.dose is None else _of_dose(trees, volumes.dose.name)
    doses, plans = instances_of(of_dose, "RTDOSE"), instances_of(of_dose, "RTPLAN")
    structures = instances_of(of_dose, "RTSTRUCT")
    cts = tuple(one for one in of_dose if one.kind == "CT")
    firsts = [one.first for one in (*images.values(), *cts)]
    _require_one_patient([*firsts, *doses, *plans, *structures])
    chosen = tuple(ChosenDose(instance, given.stated) for instance in doses)
    return PatientSource(volumes, images, chosen, plans, structures, cts)


def _of_dose(trees: Mapping[str, DicomTree], name: str) -> Sequence[Series]:
    if name not in trees:
        return ()
    if not instances_of(trees[name].series, "RTDOSE"):
        raise SourceError(
            f"no RTDOSE in the folder of {option(name)}",
            "Name the folder that holds it, with its RTPLAN and CT.",
        )
    return trees[name].series


def _tree(path: Path, name: str) -> DicomTree:
    try:
        tree = read_tree(path)
    except CohortError as error:
        raise CohortError(f"{CASE}: {option(name)}: {error}") from None
    for found, count in Counter(unusable.found for unusable in tree.unusable).items():
        logger.warning("warning: %s: %d file(s) excluded: %s", option(name), count, found)
    return tree


def _only_mr(tree: DicomTree, name: str) -> Series:
    found = [series for series in tree.series if series.kind == "MR"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SourceError(
            f"no MR series in the folder of {option(name)}", "Name the folder that holds its series."
        )
    sizes = ", ".join(f"{series.slices} slices" for series in found)
    raise SourceError(
        f"{len(found)} MR series in the folder of {option(name)} ({sizes})",
        "Name the folder of the one series alone, or use ricenet import dicom, whose map chooses.",
    )


def _require_one_patient(objects: list[Instance]) -> None:
    count = len({instance.patient_id for instance in objects})
    if count > 1:
        raise SourceError(
            f"the folders hold objects of {count} PatientIDs",
            "Check that they are one patient's; where an export gave a patient several IDs, export it again.",
        )
