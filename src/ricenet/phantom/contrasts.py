"""What tissues and lesions look like in each kind of MRI, before any scanner adds to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ricenet.phantom.anatomy import SCALP_MM, SKULL_MM, Anatomy, FloatArray, smooth_field
from ricenet.phantom.lesions import Lesions
from ricenet.phantom.mechanism import Evidence


@dataclass(frozen=True)
class Tissues:
    """A value for each tissue of the head."""

    white: float
    grey: float
    fluid: float
    skull: float
    scalp: float


@dataclass(frozen=True)
class Contrast:
    """One kind of MRI: signal relative to white matter in T1, or of a map its quantity.

    tumour: vital tumour; residual tumour after surgery is not seen where shows_evidence is False, nor is
    the core of the new lesion set apart (`core`: its value where it does not enhance). oedema: around
    cavity and lesion; None where it is not seen. is_map: values are a quantity, free of the scanner's
    bias field and units, with noise of this SD.
    """

    tissues: Tissues
    tumour: float
    core: float = 0.45
    shows_evidence: bool = True
    oedema: float | None = None
    noise_sd: float = 0.025
    is_map: bool = False


T1CE = Contrast(Tissues(white=1.0, grey=0.78, fluid=0.32, skull=0.12, scalp=1.05), tumour=1.75)
T1 = replace(T1CE, tumour=0.68)
"""Before contrast agent nothing enhances."""

T2 = Contrast(Tissues(white=0.55, grey=0.75, fluid=1.6, skull=0.1, scalp=0.8), 1.2, shows_evidence=False)
FLAIR = Contrast(
    Tissues(white=0.7, grey=0.95, fluid=0.15, skull=0.1, scalp=0.85), 1.4, shows_evidence=False, oedema=1.6
)
ADC = Contrast(
    # 1e-6 mm2/s: free water at 37 degrees has 3000, normal brain 700 to 900
    Tissues(white=780.0, grey=820.0, fluid=3000.0, skull=150.0, scalp=900.0),
    tumour=1150.0,
    shows_evidence=False,
    oedema=1400.0,
    noise_sd=40.0,
    is_map=True,
)

OEDEMA_MM = (6.0, 14.0)
"""How far oedema reaches from cavity and lesion; drawn without regard to the label."""


def contrast_of(suffix: str) -> Contrast:
    """The contrast that a volume's BIDS suffix names: FLAIR, ADC, T1 after contrast agent (ce-), else T1.

    >>> contrast_of("FLAIR") is FLAIR, contrast_of("ce-gadolinium_T1w") is T1CE, contrast_of("T1w") is T1
    (True, True, True)
    """
    named = {"FLAIR": FLAIR, "ADC": ADC, "CE-": T1CE}
    return next((contrast for word, contrast in named.items() if word in suffix.upper()), T1)


def signal_of(
    contrast: Contrast,
    anatomy: Anatomy,
    lesions: Lesions,
    evidence: Evidence,
    rng: np.random.Generator,
    *,
    at_event: bool,
) -> FloatArray:
    """The head's signal on the anatomy's grid, (X, Y, Z).

    After surgery: a fluid-filled cavity with residual tumour at its wall. At the event: the cavity has
    shrunk, the residual no longer shows, and there is a new lesion whose core enhances as far as the
    evidence says. rng: of the oedema.
    """
    signal = mix_tissues(anatomy, contrast.tissues)
    if contrast.oedema is not None:
        signal = overlay(signal, _oedema(anatomy, lesions, at_event, rng), contrast.oedema)
    if not at_event:
        if contrast.shows_evidence:
            signal = overlay(signal, lesions.residual, contrast.tumour)
        return overlay(signal, lesions.cavity, contrast.tissues.fluid)
    signal = overlay(signal, lesions.cavity_at_event, contrast.tissues.fluid)
    signal = overlay(signal, lesions.lesion, contrast.tumour)
    if not contrast.shows_evidence:
        return signal
    if lesions.remote is not None:
        focus = lesions.remote * np.float32(evidence.remote_enhancement)
        signal = overlay(signal, focus, contrast.tumour)
    core = contrast.core + evidence.core_enhancement * (contrast.tumour - contrast.core)
    return overlay(signal, lesions.lesion_core, core)


def mix_tissues(anatomy: Anatomy, tissues: Tissues) -> FloatArray:
    """The undisturbed head, each voxel the mean of its tissues; 0 outside."""
    depth = anatomy.brain_depth_mm
    fluid = np.clip(1 - anatomy.grey - anatomy.white, 0, 1) * (depth > -SKULL_MM[0])
    skull = _shell(depth, SKULL_MM)
    scalp = _shell(depth, SCALP_MM)
    outside = 1 - np.clip(skull + scalp, 0, 1)
    inside = tissues.white * anatomy.white + tissues.grey * anatomy.grey + tissues.fluid * fluid
    signal: FloatArray = (inside * outside + tissues.skull * skull + tissues.scalp * scalp).astype(np.float32)
    return signal


def overlay(signal: FloatArray, mask: FloatArray, value: float) -> FloatArray:
    """Replace the signal by a value, by the fraction in [0, 1] that a soft mask says."""
    result: FloatArray = signal + mask * (np.float32(value) - signal)
    return result


def _shell(depth_mm: FloatArray, bounds_mm: tuple[float, float]) -> FloatArray:
    near, far = bounds_mm
    fraction: FloatArray = np.clip(-depth_mm - near + 0.5, 0, 1) * np.clip(far + depth_mm + 0.5, 0, 1)
    return fraction


def _oedema(anatomy: Anatomy, lesions: Lesions, at_event: bool, rng: np.random.Generator) -> FloatArray:
    """Fraction of oedema: it fades away from cavity and lesion, and keeps to the white matter."""
    distance = np.maximum(lesions.cavity_distance_mm, 0)
    # of a control there is no lesion to keep a distance from
    if at_event and lesions.lesion.any():
        spacing = anatomy.grid.spacing_mm
        distance = np.minimum(
            distance, ndimage.distance_transform_edt(lesions.lesion < 0.5, sampling=spacing)
        )
    reach_mm = rng.uniform(*OEDEMA_MM) + smooth_field(anatomy.grid, 1, 20.0, 1.5, rng)[0]
    fading = np.clip(1.5 * (1 - distance / np.maximum(reach_mm, 1.0)), 0, 1)
    fraction: FloatArray = (fading * anatomy.white).astype(np.float32)
    return fraction
