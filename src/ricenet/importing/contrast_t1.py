"""Which MR series are contrast-enhanced T1, as far as scanners and their operators say.

A rule for proposals only: a person looks over every one of them.
"""

from __future__ import annotations

import re

from ricenet.importing.dicom.instances import Series

LEAST_SLICES = 8
"""Fewer are a localiser or a fragment, no head."""


def _words(*words: str) -> re.Pattern[str]:
    # letters end a word, digits and signs do not: T1KM, T1_KM and KM2 hold KM, SPACE does not hold CE
    return re.compile(rf"(?<![A-Z])(?:{'|'.join(words)})(?![A-Z])", re.IGNORECASE)


_T1 = re.compile(
    r"T1|(?<![A-Z])(?:MP-?2?RAGE|IR-?FSPGR|FSPGR|SPGR|BRAVO|TFE|VIBE|MDEFT|FLASH)", re.IGNORECASE
)
_CONTRAST = re.compile(
    # CET1, T1CE, T1C, T1C+, T1Gd, T1KM: written together with the weighting
    r"CE-?T1|T1W?[ _-]?(?:CE|C(?![A-Z])|GD|KM)|C\+|\+ ?C(?![A-Z])|(?<![A-Z])(?:"
    r"CE|GD|GAD|GADO\w*|KM|KONTRAST\w*|CONTRAST|CONTRASTE|ENHANCED|POST(?![ _-]?OP))(?![A-Z])",
    re.IGNORECASE,
)
_WITHOUT = _words(
    *("NATIV", "NATIVE", "NATIVO", "PRE", "PREGAD", "PRE-?CONTRAST", "OHNE", "VOR", "WITHOUT"),
    *("W/O", "WO", "NON", "NON-?CONTRAST", "UNENHANCED", "SIN", "SANS", "SENZA", "NO CONTRAST", "-C", "C-"),
)
_OTHER_SEQUENCE = _words(
    *("T2", "T2W", "DWI", "ADC", "DTI", "DCE", "DSC", "PERF", "PERFUSION", "DYN", "DYNAMIC"),
    *("SUB", "SUBTR", "SUBTRACTION", "SUBTRAKTION", "SCOUT", "LOC", "LOCALI[SZ]ER", "SURVEY", "MAP", "T1MAP"),
)


def says_contrast_t1(description: str, contrast_agent: bool) -> bool:
    """Whether a series' description, with the tag for a contrast agent, means contrast-enhanced T1.

    It names T1 or a T1-weighted sequence, says contrast (CE, C+, Gd, KM, post, contrast and the like) or
    has the tag, says nothing of before or without contrast, and names no other weighting, map or subtraction.

    >>> [says_contrast_t1(text, False) for text in ("CET1 ax", "t1_mprage_KM", "T1 SPACE", "T1 post op")]
    [True, True, False, False]
    >>> says_contrast_t1("T1 MPRAGE", contrast_agent=True), says_contrast_t1("T1 nativ", contrast_agent=True)
    (True, False)
    """
    if not _T1.search(description) or _WITHOUT.search(description) or _OTHER_SEQUENCE.search(description):
        return False
    return contrast_agent or bool(_CONTRAST.search(description))


def is_contrast_t1(series: Series) -> bool:
    """Whether a series is proposed as contrast-enhanced T1: an MR of enough slices that is called so."""
    return (
        series.kind == "MR"
        and series.slices >= LEAST_SLICES
        and says_contrast_t1(series.first.series_description, series.first.contrast_agent)
    )
