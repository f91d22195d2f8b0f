"""What each step's result depends on, as content addresses: a changed setting redoes what it must, no more.

Registrations and brain extraction depend on scans and on their own settings, code and tools; the cube on
them and on the rest. So another crop, another interpolation or a further volume costs none of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from ricenet.cohort.checked import CheckedSubject
from ricenet.config.preprocessing import BrainParams, PreprocessingParams
from ricenet.runtime.code_digest import code_digest
from ricenet.runtime.files import content_digest
from ricenet.vocabulary import Volumes

ARRAYS = ("nibabel", "numpy", "scipy")
REGISTRATION_TOOLS = (*ARRAYS, "antspyx", "scikit-image")
BRAIN_TOOLS = (*ARRAYS, "scikit-image", "torch")
BRAIN_PREFIX = "brain_"
"""Of the names that `brain_tools` gives."""


@dataclass(frozen=True)
class StepKeys:
    """Content keys of a subject's registrations by moving MRI, brain mask, and cube with all in it."""

    registrations: Mapping[str, str]
    brain: str
    cube: str

    @property
    def all(self) -> list[str]:
        """Every key."""
        return [*self.registrations.values(), self.brain, self.cube]


def tool_versions(params: BrainParams) -> dict[str, str]:
    """Versions of the libraries that results depend on, and how HD-BET computes on this machine.

    Raises RicenetError: what is asked for is not installed.
    """
    from ricenet.preprocessing.brain.extraction import brain_tools

    versions = {name: version(name) for name in sorted({*REGISTRATION_TOOLS, *BRAIN_TOOLS})}
    return versions | brain_tools(params)


def step_keys(
    subject: CheckedSubject,
    volumes: Volumes,
    params: PreprocessingParams,
    seed: int,
    versions: Mapping[str, str],
) -> StepKeys:
    """The content addresses of a checked subject. versions: as `tool_versions` gives them."""
    scans = subject.scans
    registrations = {
        spec.name: content_digest(
            {
                # every patient has random numbers of its own; what visits share is registered once
                "subject": subject.patient,
                "seed": seed,
                "scans": [scans.get(volumes.reference_of(spec).name), scans[spec.name]],
                "params": params.registration.model_dump(),
                "versions": _of(versions, REGISTRATION_TOOLS),
                "code": code_digest("ricenet.preprocessing.registration.rigid_registration"),
            }
        )
        for spec in volumes.mris
        if spec.name in scans and spec != volumes.reference
    }
    brain = content_digest(brain_inputs(scans, volumes.reference.name, params.brain, versions))
    cube = content_digest(
        {
            "subject": subject.participant_id,
            # files are called by session and suffix
            "volumes": [[v.name, v.kind, v.session, v.suffix, v.scale] for v in volumes if v.name in scans],
            "registrations": registrations,
            "brain": brain,
            "scans": {name: scans[name] for name in (*volumes.names, "dose_sidecar") if name in scans},
            "params": params.model_dump(exclude={"registration", "brain"}),
            "versions": _of(versions, ARRAYS),
            "code": code_digest("ricenet.preprocessing.subject_files"),
        }
    )
    return StepKeys(registrations, brain, cube)


def brain_inputs(
    scans: Mapping[str, str], scan: str, params: BrainParams, versions: Mapping[str, str]
) -> dict[str, object]:
    """What the brain mask of an MRI depends on. scans: digests by name; a given mask comes first."""
    code = code_digest("ricenet.preprocessing.brain.extraction")
    if "brain_mask" in scans:
        return {"given": scans["brain_mask"], "versions": _of(versions, ARRAYS), "code": code}
    computed = {name: value for name, value in versions.items() if name.startswith(BRAIN_PREFIX)}
    return {
        "scan": scans[scan],
        "params": params.model_dump(),
        "versions": _of(versions, BRAIN_TOOLS) | computed,
        "code": code,
    }


def _of(versions: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: versions[name] for name in names if name in versions}
