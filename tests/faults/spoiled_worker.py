"""Puts spoiled inputs through the commands, one after the other, and tells what came of each.

Usage: python spoiled_worker.py cohort|export FOLDER FIRST. A line of JSON goes to FOLDER/results.jsonl before
a case (its number) and after it; so whoever reads knows which case hangs.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import shutil
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

import spoiled_cohorts  # noqa: E402
import spoiled_exports  # noqa: E402
from cohorts import FILES, write_tiny_cohort  # noqa: E402
from dicom_trees import write_tiny_export  # noqa: E402
from spoiled import Case  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from ricenet.cli import app  # noqa: E402
from ricenet.volume import Volume, load_nifti  # noqa: E402

LIMIT_S = 30
IDENTIFYING = re.compile(r"Sibylle|19570917|ANON-1[78]|2\.25\.")
SUBJECT = {"cohort": "sub-002", "export": "sub-001"}

Verdict = tuple[str, str]
"""refused, accepted or failed; and why."""


class SpoiledCohorts:
    """`ricenet check` on copies of a cohort of four."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.valid = folder, write_tiny_cohort(folder / "valid")
        self.cases = spoiled_cohorts.cases()
        self.before = checked(self.valid)

    def verdict(self, case: Case) -> Verdict:
        cohort = self.folder / "cohort"
        remove(cohort)
        shutil.copytree(self.valid, cohort)
        case.spoil(cohort)
        code, said, fault = call(["check", str(cohort)])
        if fault or code not in (0, 1):
            return "failed", fault or f"exit status {code}: {said[-300:]}"
        if code == 1:
            return told(said, ("sub-002", "participants.tsv", "exclude.tsv", Path(case.file).name))
        return self.accepted(case, cohort)

    def accepted(self, case: Case, cohort: Path) -> Verdict:
        if case.valid:
            return "accepted", case.valid
        if case.file not in FILES.values():
            same = checked(cohort) == self.before
            return ("accepted", "the same is read") if same else ("failed", "accepted, and read otherwise")
        return same_voxels(cohort / case.file, self.valid / case.file)


class SpoiledExports:
    """Both calls of `ricenet import dicom` on copies of an export of one patient."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.export = write_tiny_export(folder / "valid" / "export", "ANON-17")
        params = (TESTS.parent / "params.yaml").read_text().replace("backend: processes", "backend: serial")
        (folder / "params.yaml").write_text(params)
        (folder / "valid" / spoiled_exports.CLINICAL).write_text(spoiled_exports.CLINICAL_TEXT)
        code, said, fault = self.call(folder / "valid")
        assert code == 0 and not fault, said
        self.cases = spoiled_exports.cases(self.export)
        self.expected = folder / "expected"
        shutil.copytree(folder / "valid", self.expected)
        code, said, fault = self.call(self.expected)
        assert code == 0 and not fault, said

    def call(self, at: Path) -> tuple[int, str, str]:
        words = ["import", "dicom", str(at / "export"), str(at / "mine"), "--map", str(at / "map.csv")]
        return call(
            [*words, "--clinical", str(at / "clinical.csv"), "--params", str(self.folder / "params.yaml")]
        )

    def verdict(self, case: Case) -> Verdict:
        at = self.folder / "case"
        remove(at)
        shutil.copytree(self.folder / "valid", at)
        case.spoil(at)
        said = ""
        if "DICOM" in case.kind:
            # what a person gets who begins with this export
            (at / "map.csv").unlink()
            code, said, fault = self.call(at)
            if fault or code not in (0, 1):
                return "failed", fault or f"exit status {code}: {said[-300:]}"
            if code == 1:
                return self.refused(said)
        code, more, fault = self.call(at)
        said += more
        if fault or code not in (0, 1):
            return "failed", fault or f"exit status {code}: {said[-300:]}"
        if code == 1 or "Not in the cohort" in said:
            return self.refused(said)
        return self.accepted(case, at)

    def refused(self, said: str) -> Verdict:
        if identifying := IDENTIFYING.search(said):
            return "failed", f"says {identifying.group()!r}: {said[-300:]}"
        return told(said, ("sub-001", "map.csv", "clinical.csv", "export: no MR or CT series"))

    def accepted(self, case: Case, at: Path) -> Verdict:
        if case.valid:
            return "accepted", case.valid
        if case.file in {"clinical.csv", "map.csv"}:
            names = ("participants.tsv",)
            if any(
                (at / "mine" / n).read_bytes() != (self.expected / "mine" / n).read_bytes() for n in names
            ):
                return "failed", "accepted, and another table is written"
        for path in sorted((self.expected / "mine").rglob("*.nii.gz")):
            verdict = same_volumes(at / "mine" / path.relative_to(self.expected / "mine"), path)
            if verdict[0] == "failed":
                return self.by_the_check(at / "mine", verdict)
        return "accepted", "the same voxels are imported"

    def by_the_check(self, cohort: Path, otherwise: Verdict) -> Verdict:
        """Another volume, whose place and size the next command judges."""
        code, said, fault = call(["check", str(cohort)])
        return self.refused(said) if code == 1 and not fault else otherwise


def call(words: list[str]) -> tuple[int, str, str]:
    """Exit status, what was said, and what went wrong beside."""
    done = CliRunner().invoke(app, words)
    said = " ".join(done.output.split())
    fault = ""
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        fault = f"{type(done.exception).__name__}: {str(done.exception)[:300]}"
    elif "Traceback" in said or "unforeseen" in said:
        fault = said[-600:]
    return done.exit_code, said, fault


def told(said: str, names: tuple[str, ...]) -> Verdict:
    """A refusal has to say whose, or which file."""
    if not any(name in said for name in names):
        return "failed", f"names neither subject nor file: {said[-300:]}"
    return "refused", ""


def same_volumes(found: Path, expected: Path) -> Verdict:
    if not found.is_file():
        return "failed", f"accepted without {expected.name}"
    mine, theirs = load_nifti(found), load_nifti(expected)
    same = mine.data.shape == theirs.data.shape and np.allclose(mine.data, theirs.data, rtol=1e-5, atol=1e-5)
    if not same or not np.allclose(mine.grid.affine, theirs.grid.affine, atol=1e-3):
        return "failed", f"accepted, and {expected.name} is another volume"
    return "accepted", "the same voxels are imported"


def same_voxels(found: Path, valid: Path) -> Verdict:
    """Voxels as before, or as SimpleITK reads them from the spoiled file."""
    if same_volumes(found, valid)[0] == "accepted":
        return "accepted", "the field is not used: voxels and places are as before"
    import SimpleITK as sitk

    mine = load_nifti(found)
    try:
        image: Any = sitk.ReadImage(str(found))
    except RuntimeError as error:
        # which has no place for axes that are not perpendicular, as registrations of 12 parameters write them
        if "orthonormal" in str(error):
            return as_the_standard_has_it(found, mine)
        return "failed", f"accepted, and SimpleITK refuses it: {str(error)[-200:]}"
    voxels = sitk.GetArrayFromImage(image).T
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    if voxels.shape != mine.data.shape or not np.allclose(voxels, mine.data, rtol=1e-4, atol=1e-4):
        return "failed", "accepted, and SimpleITK reads other voxels"
    if not np.allclose(affine, mine.grid.affine, rtol=1e-3, atol=1e-2):
        return (
            "failed",
            f"accepted, and SimpleITK places it elsewhere: {affine.tolist()}, {mine.grid.affine.tolist()}",
        )
    return "accepted", "a valid value: SimpleITK reads the same voxels at the same places"


def as_the_standard_has_it(path: Path, mine: Volume) -> Verdict:
    """Float voxels and sform, byte by byte (nifti1.h)."""
    content = gzip.decompress(path.read_bytes())
    start = int(struct.unpack_from("<f", content, 108)[0])
    voxels = np.frombuffer(content, "<f4", mine.data.size, start).reshape(mine.data.shape, order="F")
    rows = np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4)
    if not np.array_equal(voxels, mine.data) or not np.allclose(rows, mine.grid.affine[:3], atol=1e-3):
        return "failed", "accepted, and its bytes say something else"
    return "accepted", "a valid value: voxels and sform are those of the file's bytes"


def checked(cohort: Path) -> object:
    """What is read of a cohort's tables and sidecars."""
    from ricenet.cohort.checks import check_cohort

    return [(one.participant_id, one.label, one.subset) for one in check_cohort(cohort).subjects]


def remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def main(kind: str, folder: Path, first: int) -> None:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {LIMIT_S} s")

    signal.signal(signal.SIGALRM, too_long)
    # without params.yaml, so that the volumes are the paper's
    os.chdir(folder)
    bench = (SpoiledCohorts if kind == "cohort" else SpoiledExports)(folder)
    with (folder / "results.jsonl").open("a") as results:

        def tell(**content: object) -> None:
            results.write(json.dumps(content) + "\n")
            results.flush()

        tell(cases=len(bench.cases))
        for number, case in enumerate(bench.cases[first:], first):
            tell(begun=number, kind=case.kind, name=case.name)
            begun = time.monotonic()
            signal.alarm(LIMIT_S)
            try:
                verdict, why = bench.verdict(case)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is what is looked for)
                verdict, why = "failed", f"{type(error).__name__}: {error}"
            finally:
                signal.alarm(0)
            memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            tell(
                number=number,
                kind=case.kind,
                name=case.name,
                verdict=verdict,
                why=why,
                memory_mb=memory_mb,
                seconds=round(time.monotonic() - begun, 2),
            )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
