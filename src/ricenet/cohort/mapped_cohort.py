"""A dataset under the names of a cohort, for as long as it is read: links, beside tables of its own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ricenet.cohort.checks import IMPORTING, CheckReport
from ricenet.cohort.description import BIDS_IGNORE, write_ignored
from ricenet.cohort.file_mapping import mapped_subjects, read_mapping
from ricenet.cohort.layout import (
    DATASET_DESCRIPTION,
    GROUND_TRUTH,
    PARTICIPANTS_TABLE,
    RawSubject,
    is_there,
    uncompressed,
    without_ending,
)
from ricenet.cohort.quarantine import QUARANTINE_TABLE
from ricenet.vocabulary import Volumes

MAPPING_FILE = "mapping.json"
"""A copy of the mapping in the cohort that was made by it."""

_TAKEN = {
    *(
        DATASET_DESCRIPTION,
        PARTICIPANTS_TABLE,
        "participants.json",
        QUARANTINE_TABLE,
        GROUND_TRUTH,
        IMPORTING,
    ),
    *("LICENSE", "CITATION.cff", "CHANGES", "README", "README.md", "README.rst", "README.txt"),
}
"""Of a dataset, beside its subjects' files."""


@dataclass(frozen=True)
class MappedCohort:
    """A cohort's folder as `layout` has it. sources: the dataset's own files by their place in it."""

    folder: Path
    sources: Mapping[str, str] = field(default_factory=dict)

    def in_own_names(self, report: CheckReport) -> CheckReport:
        """A report whose problems and notes name the dataset's own files."""

        def own(text: str) -> str:
            for place, source in self.sources.items():
                text = text.replace(place, source)
            return text

        problems, notes = (
            tuple(replace(one, file=own(one.file), found=own(one.found)) for one in found)
            for found in (report.problems, report.notes)
        )
        return replace(report, problems=problems, notes=notes)


@contextlib.contextmanager
def mapped_cohort(folder: Path, mapping: Path | None, volumes: Volumes) -> Iterator[MappedCohort]:
    """A dataset as a cohort for as long as the block lasts. mapping: the file; None: it is one as it is.

    Raises CohortError: a mapping that cannot be read, or that does not find one file for each volume.
    """
    if mapping is None or not folder.is_dir():
        yield MappedCohort(folder)
        return
    subjects = mapped_subjects(folder, read_mapping(mapping), volumes)
    with tempfile.TemporaryDirectory(prefix="ricenet-cohort-") as temporary:
        view = Path(temporary) / folder.absolute().name
        sources: dict[Path, Path] = {}
        for one in subjects:
            sources |= _links(RawSubject(view, one.subject, volumes), one.sources)
        # folders without files too: the check counts and names them
        for path in filter(Path.is_dir, folder.glob("sub-*")):
            (view / path.name).mkdir(parents=True)
        beside = {view / name: folder / name for name in _TAKEN if is_there(folder / name)}
        for link, source in (sources | beside | {view / MAPPING_FILE: mapping}).items():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.absolute())
        write_ignored(view, f"{BIDS_IGNORE}{MAPPING_FILE}\n", volumes)
        named = {
            link.relative_to(view).as_posix(): source.relative_to(folder).as_posix()
            for link, source in sources.items()
        }
        yield MappedCohort(view, named)


def _links(raw: RawSubject, sources: Mapping[str, Path]) -> dict[Path, Path]:
    """Source by link, with the JSON beside a volume. raw: where the links are to lie; nothing does yet."""
    links: dict[Path, Path] = {}
    for name, source in sources.items():
        link = raw.scan(name) if name in raw.volumes.names else raw.side_files[name]
        sidecar = source.with_name(f"{without_ending(source)}.json")
        if source != sidecar and is_there(sidecar):
            links[link.with_name(f"{without_ending(link)}.json")] = sidecar
        links[uncompressed(link) if source.name.endswith(".nii") else link] = source
    return links
