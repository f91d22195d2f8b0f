"""A hospital's DICOM export to a raw cohort, in two calls: the first proposes the map, the second imports."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.layout import PARTICIPANTS_TABLE, is_there
from ricenet.cohort.lookalikes import lookalike_rows
from ricenet.cohort.participants import read_participants
from ricenet.config.params import ExecutionParams
from ricenet.importing.clinical import COLUMNS, NOTHING_KNOWN, ClinicalRow, ClinicalTable, read_clinical
from ricenet.importing.cohort_folder import (
    Destination,
    PatientOutcome,
    refuse_foreign_folder,
    refuse_inside,
    require_apart,
)
from ricenet.importing.dicom.instances import DicomTree
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.import_cohort import Candidate, import_cohort
from ricenet.importing.import_subject import FROM_FILES, SubjectWriter
from ricenet.importing.private_files import file_errors_reported, place_of, write_private_table
from ricenet.importing.proposal import progress, propose_map
from ricenet.importing.selection import Selection, select
from ricenet.importing.series_map import read_map, write_map
from ricenet.importing.spreadsheets import problem_list
from ricenet.runtime.errors import CohortError
from ricenet.vocabulary import LABELS, LabelNames, Volumes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportPaths:
    """source: the export. map: proposed where missing. key: who is which subject. output: the cohort."""

    source: Path
    map: Path
    key: Path
    output: Path

    @property
    def unusable(self) -> Path:
        """The list of files of the export that could not be used, beside the map."""
        return self.map.with_name(f"{self.map.stem}.files.csv")

    @property
    def is_mapped(self) -> bool:
        """Whether there is a map, or a link in its place. Raises CohortError: it cannot be looked for."""
        with file_errors_reported(f"{self.map.name}: cannot be looked for"):
            return self.map.exists() or self.map.is_symlink()

    def refuse_unsafe(self) -> None:
        """Raise CohortError where the paths would mix what identifies patients with what does not."""
        with file_errors_reported(f"{self.source.name}: cannot be opened"):
            is_folder = self.source.is_dir()
        if not is_folder:
            raise CohortError(f"{self.source.name}: no such folder. Name the folder of the DICOM export")
        require_apart(self.source, self.output)
        if place_of(self.map) == place_of(self.key):
            raise CohortError("the map and the key file are the same file. Name two")
        refuse_inside(self.map, self.output, "the map")
        refuse_foreign_folder(self.output, self.key)


def propose(paths: ImportPaths, volumes: Volumes) -> Counter[str]:
    """Write a proposed map; import nothing. Returns how many patients are complete, undecided, incomplete.

    Raises CohortError: unsafe paths, or an export without any MR, CT or RTDOSE.
    """
    paths.refuse_unsafe()
    rows = propose_map(_read(paths), volumes)
    if not rows:
        raise CohortError(
            f"{paths.source.name}: no MR or CT series and no RTDOSE in it. "
            "Name the folder of the DICOM export"
        )
    write_map(paths.map, rows)
    return progress(rows, volumes)


def import_export(
    paths: ImportPaths,
    clinical_file: Path | None,
    volumes: Volumes,
    seed: int,
    execution: ExecutionParams,
    unmatched_ok: bool = False,
    label_names: LabelNames = LABELS,
) -> tuple[PatientOutcome, ...]:
    """Import the patients of the map.

    label_names: the classes that a clinical table may hold.
    unmatched_ok: take a clinical table all the same whose patient_ids look like others of the map.
    Raises CohortError: unsafe paths, a map or clinical table that is refused, or what `import_cohort` says.
    """
    paths.refuse_unsafe()
    if clinical_file is None:
        _refuse_forgetting(paths.output / PARTICIPANTS_TABLE)
    series_map = read_map(paths.map, volumes)
    clinical = read_clinical(clinical_file, label_names) if clinical_file else ClinicalTable({})
    tree = _read(paths)
    selections = select(tree, series_map, paths.map, volumes)
    _report_strangers(selections, tree, clinical)
    if clinical_file:
        _refuse_lookalikes(selections, clinical, paths.map.name, clinical_file.name, unmatched_ok)
    unusable = Counter(file.patient_id for file in tree.unusable if file.patient_id or file.series_uid)
    candidates = [
        _candidate(
            one,
            clinical.rows.get(one.patient_id, NOTHING_KNOWN),
            unusable[one.patient_id],
            unusable[""],
            f"line {one.line} of {paths.map.name}",
            seed,
        )
        for one in selections
    ]
    unknown = set() if clinical.dates_radiotherapy else {"days_rt_end_to_event"}
    columns = {name: COLUMNS[name] for name in clinical.present}
    columns |= {name: meaning for name, meaning in FROM_FILES.items() if name not in unknown}
    to = Destination(paths.output, paths.key, columns, volumes=volumes)
    return import_cohort(candidates, to, execution)


def _refuse_forgetting(table: Path) -> None:
    """Raise CohortError where an earlier import's labels would be replaced by none."""
    rows = read_participants(table, None).participants.values() if is_there(table) else ()
    labelled = sum(row.label is not None or row.subset is not None for row in rows)
    if labelled:
        raise CohortError(
            f"the cohort has labels or subsets of {labelled} subject(s), which an import without a clinical "
            "table would remove. Give the table again (--clinical), or a folder for a new cohort"
        )


def _read(paths: ImportPaths) -> DicomTree:
    tree = read_tree(paths.source)
    if tree.unusable or paths.unusable.exists():
        rows = [(_path_below(tree.root, one.path), one.found, one.remedy) for one in tree.unusable]
        write_private_table(paths.unusable, ("path", "found", "remedy"), rows, encoding="utf-8-sig")
    if tree.unusable:
        logger.warning(
            "%d file(s) of the export cannot be used; %s lists them", len(tree.unusable), paths.unusable.name
        )
    return tree


def _path_below(root: Path, path: Path) -> str:
    # names from another system need not be UTF-8
    return os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")


def _report_strangers(selections: Sequence[Selection], tree: DicomTree, clinical: ClinicalTable) -> None:
    """Count patients whom one source knows and another does not."""
    mapped = {one.patient_id for one in selections}
    strangers = {
        "of the export are not in the map, and are not imported": set(tree.patient_ids) - mapped,
        "of the clinical table are not in the map": clinical.rows.keys() - mapped,
        "of the map are not in the clinical table": mapped - clinical.rows.keys() if clinical.rows else (),
    }
    for what, patients in strangers.items():
        if patients:
            logger.warning("%d patient(s) %s", len(patients), what)


def _refuse_lookalikes(
    selections: Sequence[Selection], clinical: ClinicalTable, map_name: str, clinical_name: str, accept: bool
) -> None:
    """Refuse a clinical table that leaves patients without a label whom it seems to mean.

    Raises CohortError: pairs of rows that may be the same patient's, or no row of a patient of the map.
    """
    mapped = {one.patient_id: one.line for one in selections}
    unused = {patient: row.line for patient, row in clinical.rows.items() if patient not in mapped}
    unlabelled = {patient: line for patient, line in mapped.items() if patient not in clinical.rows}
    found = lookalike_rows(unused, unlabelled, clinical_name, map_name)
    if not found and unused and len(unused) == len(clinical.rows):
        found = [f"not one of its {len(unused)} patient_id(s) is in {map_name}"]
    if found and accept:
        for text in found:
            logger.warning("%s", text)
    elif found:
        raise CohortError(
            f"{problem_list(Path(clinical_name), found)}\nCorrect the patient_ids (a spreadsheet drops zeros "
            "from the front unless the column is text), or give --unmatched-ok where they are others' indeed"
        )


def _candidate(
    one: Selection, clinical: ClinicalRow, unusable: int, of_nobody: int, origin: str, seed: int
) -> Candidate:
    """unusable, of_nobody: how many files of the patient, and of none that they name, cannot be used."""
    patient = one.patient_id
    if one.source is not None:
        writer = SubjectWriter(one.source, seed, clinical.rt_end, clinical.columns.get("rt_modality"))
        return Candidate(patient, clinical.columns, writer, content=writer.content, origin=origin)
    if one.undecided:
        failure = (
            f"{len(one.undecided)} row(s) of the map are undecided (lines "
            f"{', '.join(map(str, one.undecided))}). Write a role in place of each ?, or nothing where the "
            "row is not used"
        )
        return Candidate(patient, {}, failure=failure, origin=origin)
    roles = f"the role {' or '.join(one.missing)}" if one.has_roles else "a role"
    lacking = f"no row of the map has {roles}"
    if not unusable and of_nobody:
        lacking += (
            f"; {of_nobody} image or radiotherapy file(s) that name no patient cannot be used (*.files.csv "
            "beside the map lists them). If they are this patient's, export them again"
        )
    if not unusable:
        return Candidate(patient, {}, exclusion=lacking, origin=origin)
    # no choice of the user's: what the role needs may be among these files
    failure = (
        f"{lacking}, and {unusable} file(s) of this patient cannot be used (*.files.csv beside the map lists "
        "them). Export them again and propose a map under another name, or remove the patient from the map"
    )
    return Candidate(patient, {}, failure=failure, origin=origin)
