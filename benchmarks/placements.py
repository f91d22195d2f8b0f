"""Volumes of a phantom subject in consistent and inconsistent places: what the gate of a cohort accepts.

200 random placements that agree in everything (oblique, mirrored and permuted axes, other spacings, data
types and versions of NIfTI, both header forms or one) have to be accepted; 200 with one thing wrong have to
be refused, or asked about. Another subject's dose and exchanged sessions stay where the phantom put them,
near each other as two examinations in one scanner are. The gate's limits were chosen on phantoms of other
seeds.

    python benchmarks/placements.py [--trials 200] [--seed 4711]
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from figure import report
from placed_volumes import (
    SUBJECTS,
    File,
    Files,
    Generator,
    direction,
    placed,
    rigid,
    subjects,
    translation,
    turned,
)

from ricenet.cohort.layout import RawSubject
from ricenet.cohort.raw_record import examine
from ricenet.cohort.scan_fingerprint import pair_digest, voxel_digest
from ricenet.runtime.files import write_json
from ricenet.runtime.randomness import generator_for
from ricenet.volume import Volume

SIDECAR = {"DoseUnits": "GY", "DoseSummationType": "PLAN", "NumberOfFractions": 30}
FACTORS = (0.1, 0.5, 0.8, 1.25, 2.0, 10.0)


# --- what is wrong: each changes one thing of a consistent placement ---

Wrong = Callable[[Files, list[dict[str, Volume]], int, Generator], Files]


def moved(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """The dose 30 to 200 mm away."""
    shift = direction(rng) * rng.uniform(30, 200)
    return files | {"dose": files["dose"].moved(lambda form: translation(shift) @ form)}


def moved_mask(_: Files, everybody: list[dict[str, Volume]], who: int, rng: Generator) -> Files:
    """The brain mask 40 to 200 mm away."""
    files = placed(everybody[who], rng, far=False)
    mask, shift = everybody[who]["brain_mask"], translation(direction(rng) * rng.uniform(40, 200))
    affine = shift @ mask.grid.affine
    return files | {"brain_mask": File(mask, affine, affine)}


def mirrored(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """The dose's voxels in the other sense along one of its axes, the header as it was."""
    dose, axis = files["dose"], int(rng.integers(3))
    flipped = Volume(np.ascontiguousarray(np.flip(dose.volume.data, axis)), dose.volume.grid)
    return files | {"dose": replace(dose, volume=flipped)}


def mirrored_form(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """A qform that mirrors what sform does not."""
    name = str(rng.choice(["post_op", "event", "dose"]))
    file, axis = files[name], int(rng.integers(3))
    affine = file.volume.grid.affine
    other = affine.copy()
    other[:3, 3] += other[:3, axis] * (file.volume.grid.shape[axis] - 1)
    other[:3, axis] *= -1
    return files | {name: replace(file, sform=affine, qform=other)}


def scaled(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """Another distance of voxels, the first one in its place."""
    name, factors = str(rng.choice(["post_op", "dose"])), np.ones(3)
    if rng.uniform() < 0.5:
        factors[:] = rng.choice(FACTORS)
    else:
        factors[int(rng.integers(3))] = rng.choice([0.4, 2.5])
    return files | {name: files[name].moved(lambda form: form @ np.diag([*factors, 1.0]))}


def other_units(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """Another unit in the header, or numbers in it."""
    name = str(rng.choice(["post_op", "event", "dose"]))
    if rng.uniform() < 0.5:
        return files | {name: replace(files[name], unit=int(rng.choice([1, 3])))}
    factor = float(rng.choice([1e-3, 0.1, 10.0, 1000.0]))
    return files | {name: files[name].moved(lambda form: np.diag([factor, factor, factor, 1.0]) @ form)}


def other_dose(_: Files, everybody: list[dict[str, Volume]], who: int, rng: Generator) -> Files:
    """A dose of another phantom."""
    other = everybody[(who + 1 + int(rng.integers(len(everybody) - 1))) % len(everybody)]
    return placed(everybody[who] | {"dose": other["dose"]}, rng, far=False)


def swapped(_: Files, everybody: list[dict[str, Volume]], who: int, rng: Generator) -> Files:
    """Post-op and event scan exchanged."""
    own = everybody[who]
    return placed(own | {"post_op": own["event"], "event": own["post_op"]}, rng, far=False)


def same_session(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """The post-op scan as the event scan: turned, in another data type, or under another header."""
    again = turned(files["post_op"].volume, rng)
    dtype = str(rng.choice(["float32", "int16"]))
    affine = rigid(rng, 20, 50) @ again.grid.affine
    return files | {"event": File(again, affine, affine, dtype=dtype)}


def placeholder(files: Files, _: Any, __: int, rng: Generator) -> Files:
    """Voxels of 1 mm from the origin on."""
    name = str(rng.choice(["post_op", "event", "dose"]))
    form = np.eye(4) if rng.uniform() < 0.5 else np.diag([-1.0, -1.0, 1.0, 1.0])
    return files | {name: replace(files[name], sform=form, qform=form)}


WRONG: dict[str, Wrong] = {
    "moved dose": moved,
    "moved brain mask": moved_mask,
    "mirrored dose": mirrored,
    "mirrored form of the header": mirrored_form,
    "scaled": scaled,
    "other units": other_units,
    "another subject's dose": other_dose,
    "exchanged sessions": swapped,
    "the post-op scan twice": same_session,
    "placeholder geometry": placeholder,
}


def pair(own: Mapping[str, Volume]) -> dict[str, str]:
    """What an import would have noted of a subject's dose and scan, had it written them."""
    scan, dose = (voxel_digest(np.asarray(own[name].data, np.float32)) for name in ("post_op", "dose"))
    return {"PlacedOver": pair_digest(scan, dose)}


def problems(files: Files, rng: Generator, noted: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """What the gate finds. noted: in the dose's JSON."""
    with tempfile.TemporaryDirectory(prefix="ricenet-placements-") as folder:
        raw = RawSubject(Path(folder), "sub-001")
        paths = {"brain_mask": raw.brain_mask} | {name: raw.scan(name) for name in raw.volumes.names}
        for name, path in paths.items():
            if name in files:
                files[name].write(path.with_suffix("") if rng.uniform() < 0.3 else path)
        write_json(raw.dose_sidecar, {**SIDECAR, **noted})
        return [f"{Path(problem.file).name}: {problem.found}" for problem in examine(raw)[1]]


def main() -> None:
    """Report both shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4711)
    given = parser.parse_args()
    everybody = subjects(given.seed)
    accepted, refused, of_kind = 0, Counter[str](), Counter[str]()
    for trial in range(given.trials):
        rng = generator_for("placements", given.seed, "consistent", trial)
        found = problems(placed(everybody[trial % SUBJECTS], rng), rng)
        accepted += not found
        for problem in found:
            print(f"refused wrongly, trial {trial}: {problem}")
    for trial in range(given.trials):
        rng = generator_for("placements", given.seed, "inconsistent", trial)
        kind, who = list(WRONG)[trial % len(WRONG)], trial // len(WRONG) % SUBJECTS
        found = problems(WRONG[kind](placed(everybody[who], rng), everybody, who, rng), rng)
        of_kind[kind] += 1
        refused[kind] += bool(found)
        print(f"{kind}, trial {trial}: {found[0] if found else 'ACCEPTED'}")
    for kind, total in of_kind.items():
        print(f"{kind}: {refused[kind]} of {total} refused")
    of = f"of {given.trials} placements of {SUBJECTS} phantom subjects, seed {given.seed}"
    report("consistent placements accepted", accepted, str(given.trials), of, accepted == given.trials)
    total = refused.total()
    report("inconsistent placements refused", total, str(given.trials), of, total == given.trials)
    _imported(everybody, given.trials, given.seed)


def _imported(everybody: list[dict[str, Volume]], trials: int, seed: int) -> None:
    """The kinds that leave everything in a head, in a cohort whose import noted what belongs together."""
    right = wrong = count = 0
    for trial in range(trials):
        kind, who = list(WRONG)[trial % len(WRONG)], trial // len(WRONG) % SUBJECTS
        if kind in ("another subject's dose", "exchanged sessions"):
            rng, own = generator_for("placements", seed, "imported", trial), everybody[who]
            spoiled = WRONG[kind]({}, everybody, who, rng)
            sound = {name: File(one, one.grid.affine, one.grid.affine) for name, one in own.items()}
            count += 1
            wrong += bool(problems(spoiled, rng, pair(own)))
            right += not problems(sound, rng, pair(own))
    of = f"of {count} imported subjects whose dose's JSON says what belongs together"
    report("the same subjects unspoiled, accepted", right, str(count), of, right == count)
    report("another subject's dose or session, refused", wrong, str(count), of, wrong == count)


if __name__ == "__main__":
    main()
