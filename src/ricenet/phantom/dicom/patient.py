"""Who a patient of the DICOM phantom is: an invented person, and dates in the order of a treatment."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from ricenet.phantom.dicom.objects import PatientTags, uid
from ricenet.phantom.phantom_subject import Cause

FAMILY_NAMES = ("Ångström", "Becker", "Castro", "Dvořák", "Evans", "Fontaine", "Göbel", "Haddad", "Ivanova")
GIVEN_NAMES = {"F": ("Agnes", "Beatrix", "Chiara", "Dagny"), "M": ("Anton", "Björn", "Cedric", "Duarte")}

SHARED_FRAME_EVERY, SINGLE_FRACTION_EVERY, MULTI_FRAME_EVERY = 4, 5, 3
"""Every so many patients are planned on the MRI, have one fraction's dose, a multi-frame event scan."""


@dataclass(frozen=True)
class Timeline:
    """surgery < imaging (MRI and planning CT) < rt_start (date of the plan) <= rt_end < event."""

    surgery: datetime.date
    imaging: datetime.date
    rt_start: datetime.date
    rt_end: datetime.date
    event: datetime.date


@dataclass(frozen=True)
class DicomPatient:
    """A patient of the export; images come from the subject of the same number of the raw phantom.

    shared_frame: planned on the post-operative MRI itself, without a CT. single_fraction: the dose file
    holds one fraction. multi_frame: the event scan is one enhanced MR object.
    """

    cause: Cause
    tags: PatientTags
    timeline: Timeline
    site: str
    shared_frame: bool
    single_fraction: bool
    multi_frame: bool

    @property
    def fractions(self) -> int:
        """Planned number of fractions."""
        return self.cause.evidence.fractions

    def uid(self, of: str) -> str:
        """A UID of this patient's own."""
        return uid("ricenet-phantom", self.tags.patient_id, self.tags.birth_date, of)


def draw_patient(number: int, cause: Cause, seed: int) -> DicomPatient:
    """Invent the patient `number` (from 1); every draw is independent of the label."""
    rng = cause.stream(seed, "dicom-patient")
    sex = str(rng.choice(["F", "M"]))
    surgery = datetime.date(2012, 1, 2) + datetime.timedelta(days=int(rng.integers(0, 3650)))
    birth = surgery - datetime.timedelta(days=int(rng.integers(35 * 365, 80 * 365)))
    tags = PatientTags(
        f"PHANTOM-{number:04d}",
        f"{rng.choice(FAMILY_NAMES)}^{rng.choice(GIVEN_NAMES[sex])}",
        birth.strftime("%Y%m%d"),
        sex,
    )
    return DicomPatient(
        cause,
        tags,
        _draw_timeline(surgery, cause.evidence.fractions, rng),
        str(rng.choice(["phantom-a", "phantom-b"])),
        shared_frame=number % SHARED_FRAME_EVERY == 0,
        single_fraction=number % SINGLE_FRACTION_EVERY == 0,
        multi_frame=number % MULTI_FRAME_EVERY == 0,
    )


def _draw_timeline(surgery: datetime.date, fractions: int, rng: np.random.Generator) -> Timeline:
    imaging = surgery + datetime.timedelta(days=int(rng.integers(10, 30)))
    rt_start = imaging + datetime.timedelta(days=int(rng.integers(4, 12)))
    # five fractions a week
    rt_end = rt_start + datetime.timedelta(days=fractions - 1 + 2 * ((fractions - 1) // 5))
    event = rt_end + datetime.timedelta(days=int(rng.integers(60, 401)))
    return Timeline(surgery, imaging, rt_start, rt_end, event)
