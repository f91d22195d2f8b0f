"""The JSON beside a dose volume: what its numbers mean, and what makes them the course's dose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic import ValidationInfo as Info

from ricenet.cohort.problems import Finding, json_object
from ricenet.runtime.errors import ScanError

_REMEDIES = {
    "DoseUnits": "Export the dose in Gy and write GY.",
    "DoseSummationType": "Write PLAN (dose of the whole course) or FRACTION (dose of one fraction); "
    "other sums, such as of one beam, cannot be scaled to the course.",
    "NumberOfFractions": "Write the number of fractions of the course, a positive whole number.",
    "PrescriptionGy": "Write the prescribed dose of the course in Gy, a positive number, or leave it out.",
    "DoseType": "Write PHYSICAL or EFFECTIVE, or leave it out.",
    "PlansSummed": "Write the number of plans whose doses were summed, or leave it out.",
    "SourceSummationType": "Write the RTDOSE's own DoseSummationType, or leave it out.",
    "PlacedOver": "Leave it as the import wrote it, or leave it out.",
    "PlacementConfirmed": "Write true once somebody has looked at the dose over its scan, or leave it out.",
}
_FURTHER = ("DoseType", "PlansSummed", "SourceSummationType", "PlacedOver", "PlacementConfirmed")

_UNITS = {"GY", "CGY", "RELATIVE"}
_DOSE_TYPES = {"PHYSICAL", "EFFECTIVE", "ERROR"}
SUMMATION_TYPES = {
    *("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY", "RECORD"),
    *("FRACTION_SESSION", "BEAM_SESSION", "BRACHY_SESSION", "CONTROL_POINT"),
}
"""Those of RT Dose (DICOM PS3.3 C.8.8.3), and cGy: texts that are safe to repeat."""


def _in_any_case(value: Any) -> Any:
    # another word stays as it is spelt, for the message
    known = {"GY", *_DOSE_TYPES}
    return value.upper() if isinstance(value, str) and value.upper() in known else value


def _whole(value: Any) -> Any:
    # languages without integers write 42.0
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]


class DoseSidecar(BaseModel):
    """What a dose file says of itself; keys as in DICOM RT Dose, further keys are ignored (BIDS).

    prescription_gy: of the whole course. dose_type: EFFECTIVE where weighted by biological effect.
    plans_summed, source_summation_type: written by an import, where the dose is one of several plans.
    placed_over: by an import, which dose it placed over which scan (`scan_fingerprint.pair_digest`).
    placement_confirmed: somebody has seen that it lies over its scan, though its outline does not fit.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    units: Annotated[Literal["GY"], BeforeValidator(_in_any_case)] = Field(alias="DoseUnits")
    summation_type: Literal["PLAN", "FRACTION"] = Field(alias="DoseSummationType")
    fractions: _Count | None = Field(default=None, alias="NumberOfFractions", validate_default=True)
    prescription_gy: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, alias="PrescriptionGy"
    )
    dose_type: Annotated[Literal["PHYSICAL", "EFFECTIVE"] | None, BeforeValidator(_in_any_case)] = Field(
        default=None, alias="DoseType"
    )
    plans_summed: _Count | None = Field(default=None, alias="PlansSummed")
    source_summation_type: str | None = Field(default=None, alias="SourceSummationType")
    placed_over: str | None = Field(default=None, alias="PlacedOver")
    placement_confirmed: bool = Field(default=False, alias="PlacementConfirmed")

    @field_validator("fractions")
    @classmethod
    def _needed_to_scale(cls, fractions: int | None, info: Info) -> int | None:
        if fractions is None and info.data.get("summation_type") == "FRACTION":
            raise ValueError("without NumberOfFractions, which DoseSummationType FRACTION needs")
        return fractions

    @property
    def of_several_plans(self) -> bool:
        """Whether doses of several plans were added up, as far as the file says."""
        return (self.plans_summed or 1) > 1 or "MULTI_PLAN" in (self.source_summation_type or "")

    @property
    def factor(self) -> float:
        """What the file's Gy are multiplied by to become the cumulative dose of the course.

        Source: RICE-NET section 2: where only the dose of one fraction is available, it is scaled
        by the number of fractions.
        """
        if self.summation_type == "PLAN" or self.fractions is None:
            return 1.0
        return float(self.fractions)


def read_dose_sidecar(path: Path) -> DoseSidecar:
    """Read the sidecar of a subject's dose; the file's name starts with the subject (BIDS).

    Raises ScanError: missing, not JSON, or any refused value, all of them listed.
    """
    sidecar = parse_dose_sidecar(path)
    if isinstance(sidecar, DoseSidecar):
        return sidecar
    found = "; ".join(finding.found for finding in sidecar)
    subject = path.name.partition("_")[0]
    raise ScanError(subject, path.name, found, " ".join(finding.remedy for finding in sidecar))


def parse_dose_sidecar(path: Path) -> DoseSidecar | list[Finding]:
    """The sidecar at `path`, or all that is wrong with it."""
    needed = ", ".join(name for name in _REMEDIES if name not in _FURTHER)
    content = json_object(path, f"Write one JSON object in UTF-8, with {needed}.")
    if content is None:
        return [Finding("file is missing", f"Write it, with {needed}.")]
    if isinstance(content, Finding):
        return [content]
    try:
        return DoseSidecar.model_validate(content)
    except ValidationError as error:
        return [_finding(dict(e)) for e in error.errors()]


def _finding(error: dict[str, Any]) -> Finding:
    key = str(error["loc"][0])
    if key in DoseSidecar.model_fields:  # so called where it is the default that was refused
        key = DoseSidecar.model_fields[key].alias or key
    match error["type"]:
        case "missing":
            found = f"without {key}"
        case "value_error":
            found = error["msg"].removeprefix("Value error, ")
        case _:
            found = f"{key} is {_shown(error['input'])}"
    return Finding(found, _REMEDIES[key])


def _shown(value: Any) -> str:
    """A refused value as far as it cannot identify a patient: numbers and DICOM's words."""
    if isinstance(value, str):
        is_known = value.strip().upper() in _UNITS | _DOSE_TYPES | SUMMATION_TYPES
        return repr(value) if is_known else "some other text"
    return repr(value) if value is None or isinstance(value, int | float) else "a list or an object"
