"""What each step's result depends on, as content addresses: a changed setting redoes what it must, no more.

Registration and brain extraction depend on scans and on their own settings, code and tools; the cube on
both of them and on the rest. So another crop or another interpolation costs neither of the two.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from ricenet.cohort.checked import CheckedSubject
from ricenet.config.params import BrainParams, PreprocessingParams
from ricenet.runtime.files import content_digest, source_digest
from ricenet.vocabulary import MODALITIES

ARRAYS = ("nibabel", "numpy", "scipy")
REGISTRATION_TOOLS = (*ARRAYS, "antspyx", "scikit-image")
BRAIN_TOOLS = (*ARRAYS, "scikit-image", "torch")
BRAIN_PREFIX = "brain_"
"""Of what `brain_tools` tells."""


@dataclass(frozen=True)
class StepKeys:
    """Content keys of a subject's registration, brain mask, and cube with all that is made of it."""

    registration: str
    brain: str
    cube: str


def tool_versions(params: BrainParams) -> dict[str, str]:
    """Versions of the libraries that results depend on, and how HD-BET computes on this machine.

    Raises RicenetError: what was asked for is not installed.
    """
    from ricenet.preprocessing.brain.extraction import brain_tools

    versions = {name: version(name) for name in sorted({*REGISTRATION_TOOLS, *BRAIN_TOOLS})}
    return versions | brain_tools(params.engine, params.precision, params.device)


def step_keys(
    subject: CheckedSubject, params: PreprocessingParams, seed: int, versions: Mapping[str, str]
) -> StepKeys:
    """The content addresses of a checked subject. versions: as `tool_versions` gives them."""
    scans = subject.scans
    registration = content_digest(
        {
            # every subject has random numbers of its own
            "subject": subject.participant_id,
            "seed": seed,
            "scans": [scans["post_op"], scans["event"]],
            "params": params.registration.model_dump(),
            "versions": _of(versions, REGISTRATION_TOOLS),
            "code": _registration_code(),
        }
    )
    brain = content_digest(_brain_inputs(subject, params.brain, versions))
    others = params.model_dump(exclude={"registration", "brain"})
    cube = content_digest(
        {
            "subject": subject.participant_id,
            "registration": registration,
            "brain": brain,
            # the planning CT is for people to look at; no result depends on it
            "scans": {
                name: scans[name] for name in (*MODALITIES, "dose_sidecar", "brain_mask") if name in scans
            },
            "params": others,
            "versions": _of(versions, ARRAYS),
            "code": _cube_code(),
        }
    )
    return StepKeys(registration, brain, cube)


def _brain_inputs(
    subject: CheckedSubject, params: BrainParams, versions: Mapping[str, str]
) -> dict[str, object]:
    if "brain_mask" in subject.scans:
        return {
            "given": subject.scans["brain_mask"],
            "versions": _of(versions, ARRAYS),
            "code": _given_mask_code(),
        }
    return {
        "scan": subject.scans["post_op"],
        "params": params.model_dump(),
        "versions": _of(versions, BRAIN_TOOLS)
        | {name: value for name, value in versions.items() if name.startswith(BRAIN_PREFIX)},
        "code": _brain_code(),
    }


def _of(versions: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: versions[name] for name in names if name in versions}


@functools.cache
def _registration_code() -> str:
    from ricenet import volume
    from ricenet.preprocessing.registration import (
        alignment,
        coarse,
        disagreement,
        similarity,
    )
    from ricenet.preprocessing.registration import (
        ants as registration,
    )
    from ricenet.preprocessing.registration import (
        event as event_registration,
    )
    from ricenet.runtime import randomness

    steps = (alignment, coarse, disagreement, event_registration, registration, similarity)
    return source_digest(randomness, volume, *steps)


@functools.cache
def _given_mask_code() -> str:
    from ricenet import volume
    from ricenet.preprocessing.brain import given_mask
    from ricenet.preprocessing.brain import mask as brain_mask

    return source_digest(volume, brain_mask, given_mask)


@functools.cache
def _brain_code() -> str:
    from ricenet import volume
    from ricenet.preprocessing.brain import (
        device as brain_device,
    )
    from ricenet.preprocessing.brain import (
        extraction as brain,
    )
    from ricenet.preprocessing.brain import (
        hd_bet as brain_network,
    )
    from ricenet.preprocessing.brain import (
        hd_bet_original as brain_original,
    )
    from ricenet.preprocessing.brain import (
        image as brain_image,
    )
    from ricenet.preprocessing.brain import (
        mask as brain_mask,
    )

    steps = (brain, brain_device, brain_image, brain_mask, brain_network, brain_original)
    return source_digest(volume, *steps)


@functools.cache
def _cube_code() -> str:
    from ricenet import vocabulary as modalities
    from ricenet import volume
    from ricenet.cohort import dose_sidecar, layout
    from ricenet.preprocessing import cube, eqd2, intensity, network_input, subject_files

    return source_digest(
        modalities, network_input, volume, dose_sidecar, layout, cube, eqd2, intensity, subject_files
    )
