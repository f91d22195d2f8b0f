"""A hospital's DICOM export to a raw cohort, in two calls: the first proposes the map, the second imports."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ricenet.cohort.layout import PARTICIPANTS_TABLE, RawSubject
from ricenet.cohort.participants import read_participants
from ricenet.config.params import ExecutionParams
from ricenet.importing.clinical import COLUMNS, ClinicalRow, ClinicalTable, read_clinical
from ricenet.importing.cohort_folder import refuse_foreign_folder, refuse_inside
from ricenet.importing.dicom.instances import DicomTree
from ricenet.importing.dicom.tree import read_tree
from ricenet.importing.file_errors import file_errors_told
from ricenet.importing.import_cohort import Candidate, PatientOutcome, import_cohort
from ricenet.importing.import_subject import INTERVALS, SubjectWriter
from ricenet.importing.private_file import write_private_table
from ricenet.importing.proposal import progress, propose_map
from ricenet.importing.selection import NEEDED, Selection, select
from ricenet.importing.series_map import read_map, write_map
from ricenet.runtime.errors import CohortError, SourceError

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
        """Whether there is a map. Raises CohortError: its folder cannot be looked into."""
        with file_errors_told(f"{self.map.name}: cannot be looked for"):
            return self.map.exists()

    def refuse_unsafe(self) -> None:
        """Raise CohortError where the paths would mix what identifies patients with what does not."""
        with file_errors_told(f"{self.source.name}: cannot be opened"):
            is_folder = self.source.is_dir()
        if not is_folder:
            raise CohortError(f"{self.source.name}: no such folder. Name the folder of the DICOM export")
        source, output = self.source.resolve(), self.output.resolve()
        if output.is_relative_to(source) or source.is_relative_to(output):
            raise CohortError(
                "the cohort's folder and the export lie one inside the other. "
                "Name a folder for the cohort that is apart from the export"
            )
        if self.map.resolve() == self.key.resolve():
            raise CohortError("the map and the key file are the same file. Name two")
        refuse_inside(self.map, self.output, "the map")
        refuse_foreign_folder(self.output, self.key)


def propose(paths: ImportPaths) -> Counter[str]:
    """Write a proposed map; import nothing. Returns how many patients are complete, undecided, incomplete.

    Raises CohortError: unsafe paths, or an export without any MR, CT or RTDOSE.
    """
    paths.refuse_unsafe()
    tree = _read(paths)
    rows = propose_map(tree)
    if not rows:
        raise CohortError(
            f"{paths.source.name}: no MR or CT series and no RTDOSE in it. "
            "Name the folder of the DICOM export"
        )
    write_map(paths.map, rows)
    return progress(rows)


def import_export(
    paths: ImportPaths, clinical_file: Path | None, seed: int, execution: ExecutionParams
) -> tuple[PatientOutcome, ...]:
    """Import the patients of the map.

    Raises CohortError: unsafe paths, a map or clinical table that is refused, or what `import_cohort` says.
    """
    paths.refuse_unsafe()
    if clinical_file is None:
        _refuse_forgetting(paths.output / PARTICIPANTS_TABLE)
    series_map = read_map(paths.map)
    clinical = read_clinical(clinical_file) if clinical_file else ClinicalTable({})
    tree = _read(paths)
    selections = select(tree, series_map, paths.map)
    _tell_strangers(selections, tree, clinical)
    unusable = Counter(file.patient_id for file in tree.unusable if file.patient_id)
    candidates = [
        _candidate(one, clinical.rows.get(one.patient_id), unusable[one.patient_id], paths, seed)
        for one in selections
    ]
    names = [name for name in INTERVALS if clinical.dates_radiotherapy or name != "days_rt_end_to_event"]
    descriptions = {name: COLUMNS[name] for name in clinical.present}
    descriptions |= {name: INTERVALS[name] for name in names}
    return import_cohort(candidates, paths.output, paths.key, descriptions, {}, execution)


def _refuse_forgetting(table: Path) -> None:
    """Raise CohortError where an earlier import's labels would be replaced by none."""
    rows = read_participants(table).participants.values() if table.is_file() else ()
    labelled = sum(row.label is not None or row.subset is not None for row in rows)
    if labelled:
        raise CohortError(
            f"the cohort has labels or subsets of {labelled} subject(s), which an import without a clinical "
            "table would remove. Give the table again (--clinical), or a folder for a new cohort"
        )


@dataclass(frozen=True)
class _Refusal:
    """In place of a writer: the map does not say yet what to write."""

    found: str
    remedy: str

    def __call__(self, raw: RawSubject) -> Mapping[str, str]:
        raise SourceError(self.found, self.remedy)


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


def _tell_strangers(selections: Sequence[Selection], tree: DicomTree, clinical: ClinicalTable) -> None:
    """Count patients whom one source knows and another does not."""
    mapped = {one.patient_id for one in selections}
    if unmapped := len(set(tree.patient_ids) - mapped):
        logger.warning("%d patient(s) of the export are not in the map, and are not imported", unmapped)
    if not clinical.rows:
        return
    if unknown := len(clinical.rows.keys() - mapped):
        logger.warning("%d patient(s) of the clinical table are not in the map", unknown)
    if without := len(mapped - clinical.rows.keys()):
        logger.warning("%d patient(s) of the map are not in the clinical table", without)


def _candidate(
    one: Selection, clinical: ClinicalRow | None, unusable: int, paths: ImportPaths, seed: int
) -> Candidate:
    """unusable: how many files of the patient cannot be used."""
    origin = f"line {one.line} of {paths.map.name}"
    if one.undecided:
        lines = ", ".join(map(str, one.undecided))
        refusal = _Refusal(
            f"{len(one.undecided)} row(s) of the map are undecided (lines {lines})",
            "Write a role in place of each ?, or nothing where the row is not used",
        )
        return Candidate(one.patient_id, {}, refusal, origin=origin)
    if one.source is None and unusable:
        # no choice of the user's: what the role needs may be among these files
        refusal = _Refusal(
            f"{_lacking(one)}, and {unusable} file(s) of this patient cannot be used (*.files.csv beside the "
            "map lists them)",
            "Export them again and propose a map under another name, or remove the patient from the map",
        )
        return Candidate(one.patient_id, {}, refusal, origin=origin)
    if one.source is None:
        return Candidate(one.patient_id, {}, exclusion=_lacking(one), origin=origin)
    writer = SubjectWriter(one.source, seed, clinical.rt_end if clinical else None)
    columns = clinical.columns if clinical else {}
    return Candidate(one.patient_id, columns, writer, content=writer.content, origin=origin)


def _lacking(one: Selection) -> str:
    if one.missing == NEEDED:
        return "no row of the map has a role"
    return f"no row of the map has the role {' or '.join(one.missing)}"
