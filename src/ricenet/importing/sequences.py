"""Which MR series are which sequence, as far as scanners and their operators say.

Rules for proposals only: a person looks over every one of them.
"""

from __future__ import annotations

import re

from ricenet.importing.dicom.instances import Series
from ricenet.vocabulary import VolumeSpec

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
_DERIVED = (
    *("PERF", "PERFUSION", "DYN", "DYNAMIC", "DCE", "DSC", "SUB", "SUBTR", "SUBTRACTION", "SUBTRAKTION"),
    *("SCOUT", "LOC", "LOCALI[SZ]ER", "SURVEY"),
)
_OTHER_THAN_T1 = _words("T2", "T2W", "DWI", "ADC", "DTI", "MAP", "T1MAP", *_DERIVED)
_FLAIR = re.compile("FLAIR|TIRM|DARK-?FLUID", re.IGNORECASE)
_ADC = re.compile(r"(?<![A-Z])D?ADC|APPARENT DIFFUSION", re.IGNORECASE)
_OTHER_THAN_FLAIR = _words("DWI", "ADC", "DTI", "MAP", *_DERIVED)
_OTHER_THAN_ADC = _words("EADC", "EXP", "EXPONENTIAL", *_DERIVED)


def says_contrast_t1(description: str, contrast_agent: bool) -> bool:
    """Whether a series' description, with the tag for a contrast agent, means contrast-enhanced T1.

    It names T1 or a T1-weighted sequence, says contrast (CE, C+, Gd, KM, post, contrast and the like) or
    has the tag, says nothing of before or without contrast, and names no other weighting, map or subtraction.

    >>> [says_contrast_t1(text, False) for text in ("CET1 ax", "t1_mprage_KM", "T1 SPACE", "T1 post op")]
    [True, True, False, False]
    >>> says_contrast_t1("T1 MPRAGE", contrast_agent=True), says_contrast_t1("T1 nativ", contrast_agent=True)
    (True, False)
    """
    if not _T1.search(description) or _WITHOUT.search(description) or _OTHER_THAN_T1.search(description):
        return False
    return contrast_agent or bool(_CONTRAST.search(description))


def says_flair(description: str, contrast_agent: bool = False) -> bool:
    """Whether a description means T2 FLAIR, before or after contrast; T1 FLAIR is another sequence.

    >>> [says_flair(text) for text in ("T2 FLAIR", "ax dark-fluid", "t2_tirm_tra", "T1 FLAIR C+", "T2 TSE")]
    [True, True, True, False, False]
    """
    return bool(_FLAIR.search(description)) and not (
        _T1.search(description) or _OTHER_THAN_FLAIR.search(description)
    )


def says_adc(description: str, contrast_agent: bool = False) -> bool:
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
