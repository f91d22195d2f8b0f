"""Which MR series are which sequence, as far as scanners and their operators say, and by which signs.

Rules for proposals only: a person looks over every one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ricenet.importing.dicom.contrast import denies_contrast, says_contrast
from ricenet.importing.dicom.instances import Series
from ricenet.importing.signs import Signs
from ricenet.vocabulary import VolumeSpec

LEAST_SLICES = 8
"""Fewer are a localiser or a fragment, no head."""

MOST_T1_ECHO_MS, LEAST_T2_ECHO_MS = 40.0, 60.0
"""Echo times of T1-weighted images lie below 30 ms, those of T2 and FLAIR above 80 ms, as a rule."""


def _words(*words: str) -> re.Pattern[str]:
    # letters end a word, digits and signs do not: T1KM, T1_KM and KM2 hold KM, SPACE does not hold CE
    return re.compile(rf"(?<![A-Z])(?:{'|'.join(words)})(?![A-Z])", re.IGNORECASE)


_T1 = re.compile(
    r"T1|(?<![A-Z])(?:MP-?2?RAGE|IR-?FSPGR|FSPGR|SPGR|BRAVO|TFE|VIBE|MDEFT|FLASH)", re.IGNORECASE
)
_DERIVED = (
    *("PERF", "PERFUSION", "DYN", "DYNAMIC", "DCE", "DSC", "SUB", "SUBTR", "SUBTRACTION", "SUBTRAKTION"),
    *("SCOUT", "LOC", "LOCALI[SZ]ER", "SURVEY"),
)
_OTHER_THAN_T1 = _words("T2", "T2W", "DWI", "ADC", "DTI", "MAP", "T1MAP", *_DERIVED)
_FLAIR = re.compile("FLAIR|TIRM|DARK-?FLUID", re.IGNORECASE)
_ADC = re.compile(r"(?<![A-Z])D?ADC|APPARENT DIFFUSION", re.IGNORECASE)
_OTHER_THAN_FLAIR = _words("DWI", "ADC", "DTI", "MAP", *_DERIVED)
_OTHER_THAN_ADC = _words("EADC", "EXP", "EXPONENTIAL", *_DERIVED)


def says_contrast_t1(description: str, contrast_agent: bool | None) -> bool:
    """Whether a series' description, with the tag for a contrast agent, means contrast-enhanced T1.

    It names T1 or a T1-weighted sequence, says contrast or has the tag, says nothing of before or without
    contrast, and names no other weighting, map or subtraction.

    >>> [says_contrast_t1(text, None) for text in ("CET1 ax", "t1_mprage_KM", "T1 SPACE", "T1 post op")]
    [True, True, False, False]
    >>> says_contrast_t1("T1 MPRAGE", contrast_agent=True), says_contrast_t1("T1 nativ", contrast_agent=True)
    (True, False)
    """
    if not _T1.search(description) or denies_contrast(description) or _OTHER_THAN_T1.search(description):
        return False
    return bool(contrast_agent) or says_contrast(description)


def says_flair(description: str, contrast_agent: bool | None = None) -> bool:
    """Whether a description means T2 FLAIR, before or after contrast; T1 FLAIR is another sequence.

    >>> [says_flair(text) for text in ("T2 FLAIR", "ax dark-fluid", "t2_tirm_tra", "T1 FLAIR C+", "T2 TSE")]
    [True, True, True, False, False]
    """
    return bool(_FLAIR.search(description)) and not (
        _T1.search(description) or _OTHER_THAN_FLAIR.search(description)
    )


def says_adc(description: str, contrast_agent: bool | None = None) -> bool:
    """Whether a description means a map of the apparent diffusion coefficient.

    >>> [says_adc(text) for text in ("ep2d_diff_ADC", "Apparent Diffusion Coefficient", "DWI b1000", "eADC")]
    [True, True, False, False]
    """
    return bool(_ADC.search(description)) and not _OTHER_THAN_ADC.search(description)


SEQUENCES = {
    "ce-gadolinium_t1w": ("contrast-enhanced T1", says_contrast_t1),
    "flair": ("FLAIR", says_flair),
    "adc": ("ADC map", says_adc),
}
"""By suffix, in lower case: the sequence's name, and the rule by which a series is proposed as it."""


def sequence_of(spec: VolumeSpec) -> str:
    """What a declared MRI is called in notes: by its suffix, or its title where no rule knows that."""
    name, _ = SEQUENCES.get(spec.suffix.lower(), (spec.title, None))
    return name


def is_sequence(series: Series, spec: VolumeSpec) -> bool:
    """Whether a series may be a declared MRI: an MR of enough slices that is called so.

    Suffixes without a rule are never proposed: their roles are written by hand.
    """
    _, says = SEQUENCES.get(spec.suffix.lower(), ("", None))
    return (
        says is not None
        and series.kind == "MR"
        and series.slices >= LEAST_SLICES
        and says(series.first.series_description, series.first.contrast_agent)
    )


def signs_of(series: Series, spec: VolumeSpec) -> Signs:
    """What a series' own tags say of its being a declared MRI that it may be (`is_sequence`)."""
    first = series.first
    signs, against = ["description"], []
    echo_ms, is_contrast = first.echo_time_ms, spec.suffix.lower() == "ce-gadolinium_t1w"
    if is_contrast and first.contrast_agent:
        signs.append("contrast agent")
    elif is_contrast and first.contrast_agent is False:
        against.append("the contrast agent's tag says that none was given")
    if echo_ms is not None and (fits := _ECHO_TIMES.get(spec.suffix.lower())) is not None:
        if fits(echo_ms):
            signs.append("echo time")
        else:
            against.append(f"an echo time of {echo_ms:g} ms")
    return Signs(tuple(signs), tuple(against))


_ECHO_TIMES: dict[str, Callable[[float], bool]] = {
    "ce-gadolinium_t1w": lambda ms: ms <= MOST_T1_ECHO_MS,
    "flair": lambda ms: ms >= LEAST_T2_ECHO_MS,
}
