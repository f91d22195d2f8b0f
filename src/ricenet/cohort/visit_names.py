"""What a visit is called: its sample, its session, and the sessions that a declared one stands for.

The first follow-up of a patient lies in `ses-event` and is the sample `sub-001`, as in a cohort of one visit
each; the second lies in `ses-event2` and is `sub-001v2`, and so on. So a visit that joins renames nothing.
"""

from __future__ import annotations

import re

from ricenet.vocabulary import EVENT, PREVIOUS

_NUMBER = r"[2-9]|[1-9][0-9]+"
_LATER_SAMPLE = re.compile(rf"(sub-[A-Za-z0-9]+)v({_NUMBER})")
_SESSION = re.compile(rf"ses-{EVENT}({_NUMBER})?")


def sample_name(patient: str, visit: int) -> str:
    """The identifier of a patient's visit, which BIDS takes for a subject's.

    >>> sample_name("sub-001", 1), sample_name("sub-001", 2)
    ('sub-001', 'sub-001v2')
    """
    return patient if visit == 1 else f"{patient}v{visit}"


def later_sample(name: str) -> tuple[str, int] | None:
    """The patient and the number that a later visit's name states; None for a name without a number.

    A participant may be called so too: whether a cohort holds such a visit, its folders say
    (`ricenet.cohort.layout.RawSubject`).

    >>> later_sample("sub-001v2"), later_sample("sub-001"), later_sample("sub-001v1")
    (('sub-001', 2), None, None)
    """
    found = _LATER_SAMPLE.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def visit_session(visit: int) -> str:
    """The session of a visit, without `ses-`.

    >>> visit_session(1), visit_session(3)
    ('event', 'event3')
    """
    return EVENT if visit == 1 else f"{EVENT}{visit}"


def visit_of_session(session_id: str) -> int | None:
    """The number of the visit that a session is; None where it is none.

    >>> visit_of_session("ses-event"), visit_of_session("ses-event2"), visit_of_session("ses-postop")
    (1, 2, None)
    """
    found = _SESSION.fullmatch(session_id)
    return int(found[1] or 1) if found else None


def session_at(declared: str, visit: int) -> str:
    """Where a volume of a declared session lies at a visit; nowhere in particular before the first.

    >>> [session_at(declared, 3) for declared in ("postop", "previous", "event")]
    ['postop', 'event2', 'event3']
    >>> session_at("previous", 1)
    'previous'
    """
    if declared == PREVIOUS and visit > 1:
        return visit_session(visit - 1)
    return visit_session(visit) if declared == EVENT else declared


def sessions_table(patient: str) -> str:
    """The name of BIDS' table of a patient's sessions, within the patient's folder."""
    return f"{patient}_sessions.tsv"
