"""Which SOP classes are what. Source: DICOM PS3.6, table A-1."""

from __future__ import annotations

from ricenet.importing.dicom.instances import Kind

_STORAGE = "1.2.840.10008.5.1.4.1.1."

MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
"""A DICOMDIR: an index of files, no data of its own."""

_KINDS: dict[str, Kind] = {
    _STORAGE + "2": "CT",
    _STORAGE + "2.1": "CT",  # enhanced
    _STORAGE + "2.2": "CT",  # legacy converted enhanced
    _STORAGE + "4": "MR",
    _STORAGE + "4.1": "MR",  # enhanced
    _STORAGE + "4.4": "MR",  # legacy converted enhanced
    _STORAGE + "481.2": "RTDOSE",
    _STORAGE + "481.3": "RTSTRUCT",
    _STORAGE + "481.5": "RTPLAN",
    _STORAGE + "481.8": "RTPLAN",  # of ions, protons among them
}


def kind_of(sop_class_uid: str) -> Kind:
    """What objects of a SOP class are."""
    return _KINDS.get(sop_class_uid, "other")
