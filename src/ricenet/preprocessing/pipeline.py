"""One subject from raw files to the network's cube, without a store."""

from __future__ import annotations

from ricenet.cohort.layout import RawSubject
from ricenet.config.params import PreprocessingParams
from ricenet.preprocessing.brain.mask import find_brain
from ricenet.preprocessing.cube import PreprocessedSubject, make_cube
from ricenet.preprocessing.registration.event import register_event, require_registered


def preprocess(raw: RawSubject, params: PreprocessingParams, seed: int) -> PreprocessedSubject:
    """Register, extract the brain, and bring every volume to the cube around it.

    Raises ScanError: a step failed (`require_registered`, `find_brain`, `make_cube`).
    Source: RICE-NET 2.1.
    """
    registration = register_event(raw, params.registration, seed)
    require_registered(registration, raw.subject)
    return make_cube(raw, params, registration, find_brain(raw, params.brain))
