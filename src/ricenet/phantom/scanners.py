"""Sites of the phantom: which subject is scanned where, and how its scanner differs from the others.

Scanners differ in contrast (an exponent of the signal), noise, bias field and resolution, each evenly
between the two ends that the design names and in an order of its own, so that any two of them differ. What a
head is made of and what decides its label stay as without sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from ricenet.runtime.randomness import generator_for, seed_for

FWHM_PER_SD = 2.354820045
"""Full width at half maximum of a Gaussian, in SDs."""


@dataclass(frozen=True)
class Scanner:
    """Where a subject is scanned. contrast: exponent of the signal. noise, bias: factors of their SDs.

    blur_mm: full width at half maximum of the scanner's own blurring. The default is that of a phantom
    without sites, which changes nothing.
    """

    site: str = ""
    name: str = ""
    contrast: float = 1.0
    noise: float = 1.0
    bias: float = 1.0
    blur_mm: float = 0.0

    def seen(self, signal: NDArray[np.float32], spacing_mm: float, *, is_map: bool) -> NDArray[np.float32]:
        """The signal (X, Y, Z) with the scanner's contrast and resolution; a map keeps its quantity."""
        if self.blur_mm:
            from scipy.ndimage import gaussian_filter

            signal = gaussian_filter(signal, self.blur_mm / FWHM_PER_SD / spacing_mm)
        if self.contrast == 1.0 or is_map:
            return signal
        changed: NDArray[np.float32] = np.maximum(signal, 0) ** np.float32(self.contrast)
        return changed


NOMINAL = Scanner()


@dataclass(frozen=True)
class SiteDesign:
    """How many sites there are, and the ends between which their scanners differ.

    contrast: exponents lie from 1 - contrast to 1 + contrast. noise, bias: factors from 1 / x to x.
    resolution_mm: of the bluntest scanner, the sharpest adding none. rice_shares: share of RICE at each site;
    None where sites are drawn without regard to the label.
    """

    count: int
    contrast: float
    noise: float
    bias: float
    resolution_mm: float
    rice_shares: Sequence[float] | None = None

    def scanners(self, seed: int) -> list[Scanner]:
        """One a site, phantom-a and on."""
        rng = generator_for("phantom", seed, "scanners")
        contrast, noise, bias, blur = (rng.permutation(np.linspace(-1, 1, self.count)) for _ in range(4))
        return [
            Scanner(
                f"phantom-{_letters(k)}",
                f"Phantom {_letters(k).upper()}",
                float(1 + self.contrast * contrast[k]),
                float(self.noise ** noise[k]),
                float(self.bias ** bias[k]),
                float(self.resolution_mm * (1 + blur[k]) / 2),
            )
            for k in range(self.count)
        ]

    def placed(self, is_rice: Mapping[str, bool], seed: int) -> dict[str, int]:
        """The number of each subject's site. is_rice: by subject.

        With rice_shares sites are as large as one another, and hold their shares to the nearest subject, in
        proportion where the cohort's own share is not their mean.
        """
        if self.rice_shares is None:
            return {s: int(generator_for("phantom", seed, s, "site").integers(self.count)) for s in is_rice}
        sizes = _in_whole([1.0] * self.count, len(is_rice))
        rice = _in_whole(
            [n * share for n, share in zip(sizes, self.rice_shares, strict=True)], sum(is_rice.values())
        )
        places: dict[str, int] = {}
        for of_label, quota in ((True, rice), (False, [n - r for n, r in zip(sizes, rice, strict=True)])):
            own = sorted(
                (s for s in is_rice if is_rice[s] == of_label),
                key=lambda s: seed_for("phantom", seed, s, "site"),
            )
            numbers = [k for k, n in enumerate(quota) for _ in range(n)]
            places |= dict(zip(own, numbers, strict=True))
        return places


def _in_whole(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers in proportion to weights, by largest remainders, that add up to a total."""
    exact = [weight * total / sum(weights) for weight in weights]
    found = [floor(round(x, 9)) for x in exact]
    by_remainder = sorted(range(len(found)), key=lambda k: (found[k] - exact[k], k))
    for k in by_remainder[: total - sum(found)]:
        found[k] += 1
    return found


def _letters(number: int) -> str:
    return chr(ord("a") + number)
