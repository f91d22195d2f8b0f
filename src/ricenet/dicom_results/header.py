"""What every result says of itself: series, UIDs, and the software and model that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ricenet import __version__
from ricenet.dicom_results.sources import UTF_8

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

Kind = Literal["report", "brain", "map", "page"]

_SERIES: Mapping[Kind, tuple[int, str]] = {
    "report": (9001, "RICE-NET prediction"),
    "brain": (9002, "RICE-NET brain mask"),
    "map": (9003, "RICE-NET occlusion maps"),
    "page": (9004, "RICE-NET case page"),
}
"""Number and description; the numbers are above those that scanners give."""

RESEARCH_USE = "Research use only"
MANUFACTURER = "RICE-NET"
SCHEME = "99RICENET"
"""Designator of the private codes; the standard's own begin otherwise (PS3.16, 8)."""


@dataclass(frozen=True)
class ResultHeader:
    """Of the objects of one prediction.

    key: digest of all that they say; equal results have equal UIDs, so storing them again adds nothing.
    model, version, digest: of the registered ensemble.
    """

    key: str
    model: str
    version: str
    digest: str

    def uid(self, part: str) -> str:
        """A UID that depends on the results and the part alone. Source: PS3.5, B (a hash under a root)."""
        from pydicom.uid import generate_uid

        return str(generate_uid(entropy_srcs=[self.key, part]))

    def series(self, kind: Kind, number: int = 1) -> dict[str, Any]:
        """Arguments that highdicom's objects share. number: of the object in its series."""
        series_number, description = _SERIES[kind]
        return {
            "series_instance_uid": self.uid(kind),
            "series_number": series_number,
            "series_description": f"{description}. {RESEARCH_USE}",
            "sop_instance_uid": self.uid(f"{kind} {number}"),
            "instance_number": number,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": "ricenet",
            # of a device, its software and the weights that it runs
            "device_serial_number": self.digest[:16],
            "software_versions": (__version__, f"{self.model} version {self.version}"[:64]),
            "specific_character_set": UTF_8,
        }


def private_code(value: str, meaning: str) -> CodedConcept:
    """A code of this project, for what no standard scheme has. Both at most 16 and 64 characters."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value, SCHEME, meaning)


def private_scheme() -> list[Any]:
    """Whose the private codes are."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [CodingSchemeIdentificationItem(SCHEME, name="RICE-NET", responsible_organization="RICE-NET")]
