"""Whether a text that scanners' operators wrote says that a contrast agent was given, or that none was.

For series descriptions and the tag ContrastBolusAgent. Long words count wherever they stand (POSTCONTRAST,
t1postGad); short ones only apart from other letters, since SPACE holds CE.
"""

from __future__ import annotations

import re

AGENTS = (
    # Gadobutrol, gadoteric acid, gadopiclenol and all other substances' names begin with GADO
    *("GADO", "GADAVIST", "PIXXOSCAN", "DOTAREM", "CLARISCAN", "DOTAGRA[FP]H?", "ARTIREM", "CYCLOLUX"),
    *("PROHANCE", "MULTIHANCE", "MAGNEVIST", "MAGNEGITA", "MAGNOGRAF", "OMNISCAN", "OPTIMARK"),
    *("PRIMOVIST", "EOVIST", "ABLAVAR", "VASOVIST", "ELUCIREM", "VUEWAY"),
)
"""Agents with gadolinium, by substance and brand. Source: FDA, table of approved gadolinium-based contrast
agents (drug safety communication of 2017-12-19, with Elucirem and Vueway approved in 2022 and Pixxoscan in
2024); EMA, annex I of referral EMEA/H/A-31/1437, which lists the names in its member states."""

_OCCASION = (
    r"(?![ _.-]*(?:OP|RT|XRT|CRT|RAD(?!I?O?LOG)|SURG|RESEC|CHEMO|TREAT|TX|TMZ|THERAP|BIOP|INTERV|ERIOR|PROC"
    r"|PROZ|STRAHL|FOSSA|HOC))"
)
"""What makes POST and PRE words of time, or other words: post-op, pre-RT, posterior."""

_UNBOUND = "|".join((*AGENTS, "[CK]ONTRAST", "ENHANC", "GAD(?!GET)", f"POST{_OCCASION}"))
_BOUND = r"CE|GD|KM|M\.?D\.?C|CM|C\+|IV ?C"
_CONTRAST = re.compile(
    rf"{_UNBOUND}|(?<![A-Z])(?:{_BOUND})(?![A-Z])|CE-?T1|T1W?[ _-]?(?:C[EM]?(?![A-Z])|CE|GD|KM)"
    r"|\+ ?(?:C|KM|GD|CE|CM)(?![A-Z])|C\+",
    re.IGNORECASE,
)
_LENGTH = re.compile(r"(?<![A-Z\d.,])\d+(?:[.,]\d+)? ?CM(?![A-Z])", re.IGNORECASE)
"""Centimetres; T1CM and T1 CM are a contrast-enhanced T1."""

_MEANT = r"(?:CONTRAST|KONTRAST|ENHANC|GAD|GD|KM|CM|CE|MDC|INJ|AGENT|IV|C(?![A-Z]))"
_WITHOUT = re.compile(
    r"NATIV|UNENHANC"
    rf"|(?<![A-Z])PRE(?:(?![A-Z]){_OCCASION}|[ _.-]*{_MEANT})"
    rf"|(?<![A-Z])(?:NON?|NIL)[ _.-]*{_MEANT}|(?<![A-Z])(?:NON|NONE)(?![A-Z])"
    r"|(?<![A-Z])(?:OHNE|WITHOUT|W/O|WO|SIN|SANS|SENZA|SEM|ZONDER|UTEN|UDEN|UTAN|BEZ|VOR|PLAIN|BASAL[E]?)"
    rf"(?:(?![A-Z]){_OCCASION}|(?={_MEANT}))"
    r"|(?<![A-Z])-C(?![A-Z])|(?<![A-Z])C-(?![A-Z])",
    re.IGNORECASE,
)
_NO_AGENT = frozenset({"NO", "NONE", "N", "N/A", "NA", "OHNE", "KEINE", "KEIN", "FALSE", "0", "-", "AUCUN"})


def says_contrast(text: str) -> bool:
    """Whether a description says that contrast was given; it may say elsewhere that none was.

    >>> [says_contrast(text) for text in ("T1 POSTCONTRAST", "t1postGad", "T1 mdc", "T1 CM", "T1 Dotarem")]
    [True, True, True, True, True]
    >>> [says_contrast(text) for text in ("T1 SPACE", "T1 post-op", "T1 posterior fossa", "T1 24 cm FOV")]
    [False, False, False, False]
    """
    return bool(_CONTRAST.search(_LENGTH.sub("", text)))


def denies_contrast(text: str) -> bool:
    """Whether a description says that the images are native, or from before contrast was given.

    >>> [denies_contrast(text) for text in ("T1 nativ", "T1 ohne KM", "PRE GAD", "T1 non-contrast", "T1 w/o")]
    [True, True, True, True, True]
    >>> [denies_contrast(text) for text in ("T1 pre-op +C", "T1 KM vor OP", "PRESS", "T1 post Gad")]
    [False, False, False, False]
    """
    return bool(_WITHOUT.search(text))


def agent_given(text: str) -> bool | None:
    """What the tag ContrastBolusAgent says: an agent, none at all, or nothing (None)."""
    word = text.strip().upper()
    if not word:
        return None
    return not (word in _NO_AGENT or denies_contrast(word))
