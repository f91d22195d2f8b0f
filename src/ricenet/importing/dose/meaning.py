"""What a dose's numbers mean: in which unit they are, and whether of one fraction or of all."""

from __future__ import annotations

import numpy as np

from ricenet.cohort.dose_limits import Extent, fits
from ricenet.importing.dose.statement import IN_THE_MAP, DoseStatement
from ricenet.runtime.errors import SourceError
from ricenet.volume import Volume


def in_gy(values: Volume, units: set[str], stated_gy: float | None) -> tuple[Volume, tuple[str, ...]]:
    """Values in Gy, and what was decided; relative ones are taken as shares of the prescription.

    units: of the doses of one plan. stated_gy: the prescription by the user's word; a plan's own does not say
    that the dose refers to it.
    Raises SourceError: different units, relative values without the user's word, or with a maximum that is
    neither near 1 nor near 100.
    Source: DICOM PS3.3 C.8.8.3 (RELATIVE: "dose relative to implicit reference value").
    """
    if len(units) > 1:
        raise SourceError(
            "RTDOSE of one plan, some in GY and some in RELATIVE units", "Export all of them in Gy."
        )
    if units == {"GY"}:
        return values, ()
    if stated_gy is None:
        raise SourceError(
            "an RTDOSE in RELATIVE units, which do not say what the dose is relative to",
            "Export the dose in Gy; or, if it is relative to the prescription, state prescription_gy "
            f"{IN_THE_MAP}.",
        )
    maximum = float(values.data.max())
    for whole, word in ((1.0, "as a fraction"), (100.0, "in percent")):
        if fits(maximum, whole):
            gy = (values.data.astype(np.float64) * (stated_gy / whole)).astype(np.float32)
            note = f"Relative dose (maximum {maximum:.4g}) taken {word} of the stated prescription."
            return Volume(gy, values.grid), (note,)
    raise SourceError(
        f"an RTDOSE in RELATIVE units with a maximum of {maximum:.4g}, which neither as a fraction nor in "
        "percent fits a prescription",
        "Export the dose in Gy.",
    )


def extent_of(summation_type: str, stated: DoseStatement, maximum_gy: float) -> tuple[Extent, str]:
    """Whether the values are those of one fraction or of all, and who says so.

    stated: completed by the plans.
    Raises SourceError: FRACTION and nothing that decides it, or what does contradicts the usual meaning.
    Source: DICOM PS3.3 C.8.8.3, by which FRACTION is the dose of a whole fraction group; deviation:
    many systems write the dose of one fraction so, and the prescription shows which it is.
    """
    name, fractions, prescription_gy = summation_type, stated.fractions, stated.prescription_gy
    if stated.dose_of == "course":
        return (
            "course",
            f"The dose of summation type {name} is that of the whole course, as stated by the user.",
        )
    if stated.dose_of is None and name != "FRACTION":
        return "course", f"The dose of summation type {name} is that of all fractions."
    if fractions is None:
        raise SourceError(
            f"an RTDOSE of summation type {name} that holds one fraction, of a number that the plan does not "
            "say",
            f"State fractions {IN_THE_MAP}.",
        )
    if stated.dose_of == "fraction":
        return "fraction", (
            f"The dose of summation type {name} is that of one fraction, as stated by the user. It is scaled "
            f"by {fractions}."
        )
    either = f"State dose_of=fraction or dose_of=course {IN_THE_MAP}."
    if prescription_gy is None:
        raise SourceError(
            "an RTDOSE of summation type FRACTION without a prescription: it may hold the dose of one "
            "fraction or of all",
            either,
        )
    if fractions > 1 and fits(maximum_gy, prescription_gy):
        found = (
            f"an RTDOSE of summation type FRACTION reaches {maximum_gy:.2f} Gy, for {prescription_gy:g} Gy "
            f"in {fractions} fractions: "
        )
        if fits(maximum_gy * fractions, prescription_gy):
            raise SourceError(f"{found}it may hold the dose of one fraction or of all", either)
        raise SourceError(
            f"{found}it follows DICOM's definition (the dose of the whole fraction group) and is not one "
            "fraction's, as is usual in practice",
            f"State dose_of=course {IN_THE_MAP}.",
        )
    return "fraction", (
        f"The dose of summation type FRACTION is taken as that of one fraction and scaled by {fractions}."
    )
