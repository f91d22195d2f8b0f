"""Telling apart people whom an export gives one PatientID."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ricenet.importing.dicom.datasets import code, day

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PERSON_KEYWORDS = ("PatientBirthDate", "PatientSex")
"""What `person_of` needs to have been read."""

_SEXES = ("F", "M")


def person_of(dataset: Dataset) -> str:
    """Birth date and sex as a digest; empty unless both are stated.

    Names are left out, since systems spell them differently. A sex other than F and M counts as not
    stated: planning systems and anonymisers write O where they know none, and a person's dose would be of
    somebody else than their MRI.
    """
    born, sex = day(dataset, "PatientBirthDate"), code(dataset, "PatientSex")
    if born is None or sex not in _SEXES:
        return ""
    return hashlib.sha256(f"{born.isoformat()} {sex}".encode()).hexdigest()
