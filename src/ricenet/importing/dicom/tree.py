"""Reading the headers of every file below a folder, whatever the folders are called."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from ricenet.importing.dicom.consistency import consistent, losses, placed_by_folder
from ricenet.importing.dicom.datasets import quietly
from ricenet.importing.dicom.headers import NoDicomError, read_header, unusable_file
from ricenet.importing.dicom.instances import DicomTree, Instance, Kind, Series, Unusable
from ricenet.importing.dicom.joined import joined_planes, joined_slices
from ricenet.runtime.errors import CohortError, SourceError

logger = logging.getLogger(__name__)

_INDEX = "DICOMDIR"
_CLOSED = "the source folder cannot be opened. Give yourself the right to read it"


@quietly()
def read_tree(root: Path) -> DicomTree:
    """Index every file below `root` by its tags, with a progress bar on stderr.

    Names of files and folders mean nothing, except that an index (DICOMDIR) and hidden files that are no
    DICOM are passed over. Links are followed, each folder once. One SeriesInstanceUID with objects of
    several kinds gives a series for each kind, of images one at most. Copies of one object count once;
    objects that contradict each other about what a UID means are all unusable (`consistency.consistent`).
    A series knows how many of its files are unusable (`consistency.losses`). What an export tore into objects
    of one slice each is put together (`joined`).
    Raises CohortError: no such folder, it cannot be opened, or not one file in it can be used.
    """
    _check_root(root)
    paths, unusable = _files_below(root)
    found, faulty, foreign = _read(paths)
    usable, contradictory = consistent(found)
    faulty = placed_by_folder(faulty, found) + contradictory
    unusable += faulty + foreign
    if not usable:
        raise CohortError(_nothing_found(len(paths), unusable))
    logger.info("%d DICOM files in %d files", len(usable), len(paths))
    series = joined_slices(_series(usable, losses(faulty, usable)), faulty)
    doses = [one for one in series if one.kind == "RTDOSE"]
    series = [one for one in series if one.kind != "RTDOSE"] + joined_planes(doses)
    unusable.sort(key=lambda file: file.path)
    return DicomTree(root, tuple(sorted(series, key=_place)), tuple(unusable))


def _read(paths: Sequence[Path]) -> tuple[list[Instance], list[Unusable], list[Unusable]]:
    """What the files hold; those that are faulty, and those of another format."""
    found: list[Instance] = []
    faulty: list[Unusable] = []
    foreign: list[Unusable] = []
    for path in _with_progress(paths):
        try:
            instance = read_header(path)
        except NoDicomError as error:
            foreign.append(Unusable(path, error.found, error.remedy))
        except SourceError as error:
            faulty.append(unusable_file(path, error))
        else:
            found += [instance] if instance else []
    return found, faulty, foreign


def _check_root(root: Path) -> None:
    try:
        is_folder = root.is_dir()
    except OSError:
        # it lies in a folder that may not be entered
        raise CohortError(_CLOSED) from None
    if not is_folder:
        raise CohortError("the source is not a folder. Give the folder that holds the DICOM files")
    if not os.access(root, os.R_OK | os.X_OK):
        raise CohortError(_CLOSED)


def _files_below(root: Path) -> tuple[list[Path], list[Unusable]]:
    """Every file in order of its path, and the folders that cannot be opened."""
    paths: list[Path] = []
    closed: list[Unusable] = []

    def refuse(error: OSError) -> None:
        closed.append(
            Unusable(Path(error.filename or root), "a folder cannot be opened", "Check its permissions")
        )

    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        try:
            place = Path(folder).stat()
        except OSError as error:
            refuse(error)
            subfolders.clear()
            continue
        if (place.st_dev, place.st_ino) in seen:
            # a link back, or a second one to the same folder
            subfolders.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        subfolders.sort()
        paths += [Path(folder, name) for name in names if name.upper() != _INDEX]
    return sorted(paths), closed


def _with_progress(paths: Sequence[Path]) -> Iterable[Path]:
    """A bar with the time left; on a terminal only, for a log file would get a line for every file."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(paths, "reading headers", console=console, disable=not console.is_terminal)


def _nothing_found(files: int, unusable: Iterable[Unusable]) -> str:
    reasons = Counter(file.found for file in unusable).most_common(5)
    listed = "".join(f"\n  - {count} x {found}" for found, count in reasons)
    return (
        f"no usable DICOM file among {files} in the source folder. "
        f"Give the folder that holds the DICOM files themselves, unpacked{listed}"
    )


def _series(instances: Iterable[Instance], lost: Mapping[str, Sequence[Unusable]]) -> list[Series]:
    groups: dict[tuple[str, str, Kind], list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.patient_id, instance.series_uid, instance.kind].append(instance)
    return list(_complete(groups, lost))


def _complete(
    groups: Mapping[tuple[str, str, Kind], Sequence[Instance]], lost: Mapping[str, Sequence[Unusable]]
) -> Iterator[Series]:
    for (_, uid, _), instances in groups.items():
        missing = lost.get(uid, ())
        reasons = tuple(dict.fromkeys(file.found for file in missing))
        yield Series(tuple(sorted(instances, key=lambda one: one.path)), len(missing), reasons)


def _place(series: Series) -> tuple[str, date, float, str, str]:
    first = series.first
    number = float("inf") if first.series_number is None else float(first.series_number)
    return first.patient_id, first.date or date.max, number, series.uid, series.kind
