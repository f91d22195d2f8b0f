"""Guard: the same image under two names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ricenet.screening.guards.raw_fingerprint import RawLook
from ricenet.screening.guards.result import GuardResult
from ricenet.vocabulary import MODALITIES

NAME = "same_image"


def same_image(looks: Mapping[str, RawLook]) -> GuardResult:
    """Look for equal voxels: of two subjects, at either time, and of one subject at both times.

    looks: by participant_id. A dose is compared with doses alone.
    """
    holders: dict[tuple[bool, str], list[tuple[str, str]]] = defaultdict(list)
    for subject in sorted(looks):
        for modality in MODALITIES:
            digest = looks[subject].voxels[modality]
            holders[modality == "dose", digest].append((subject, modality))
    repeated = sorted(group for group in holders.values() if len(group) > 1)
    if not repeated:
        scans = sum(len(look.voxels) for look in looks.values())
        found = f"{scans} scans of {len(looks)} subjects, no two with the same voxels"
        return GuardResult(name=NAME, outcome="passed", found=found)
    told = "; ".join(" = ".join(f"{subject} {modality}" for subject, modality in g) for g in repeated[:10])
    more = f"; and {len(repeated) - 10} more" if len(repeated) > 10 else ""
    return GuardResult(
        name=NAME,
        outcome="failed",
        found=f"{len(repeated)} image(s) occur more than once: {told}{more}",
        remedy="Find out which subject each belongs to; put the copy into the cohort's exclude.tsv, or "
        "replace it by the right file.",
        subjects=tuple(sorted({subject for group in repeated for subject, _ in group})),
    )
