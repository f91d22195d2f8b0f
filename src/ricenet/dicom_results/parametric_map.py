"""Occlusion maps as Parametric Maps, voxel by voxel where the networks' cube lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ricenet.dicom_results.header import RESEARCH_USE, ResultHeader
from ricenet.dicom_results.sources import SourceImages, silently
from ricenet.volume import Volume

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap
    from highdicom.volume import Volume as DicomVolume
    from pydicom.dataset import Dataset

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AXIAL = "HPL"
"""Rows of a slice to the back, columns to the left, as axial images are shown.

highdicom orders the slices itself."""

_LEAST_WINDOW = 1e-6
"""Of a map without any change."""


def occlusion_map(
    change: Volume, title: str, number: int, sources: SourceImages, header: ResultHeader
) -> ParametricMap:
    """A map in 32-bit floating point, nothing rounded and nothing resampled.

    change: (X, Y, Z) change of p_rice by hiding a voxel, on the cube, which lies along the axes of the
    reference MRI's world, however oblique that scan is. title: what was hidden. number: in the maps' series.
    Source: DICOM PS3.3, A.75.
    """
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from pydicom.sr.codedict import codes

    values = np.asarray(change.data, dtype=np.float32)
    limit = max(float(np.abs(values).max()), _LEAST_WINDOW)
    explanation = "change of p_rice by hiding"
    mapping = RealWorldValueMapping(
        lut_label="p_rice",
        lut_explanation=explanation,
        unit=codes.UCUM.NoUnits,
        value_range=(-limit, limit),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.Saliency,
    )
    # of the exact kind alone may be narrower than 1; lists, since highdicom stores a text letter by letter
    window = VOILUTTransformation([0.0], [2 * limit], [explanation], "LINEAR_EXACT")
    with silently():
        made = ParametricMap(
            source_images=sources.heads,
            pixel_array=axial_volume(values, change.grid.affine, sources.frame_uid),
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[window],
            content_label="OCCLUSION",
            content_description=f"{RESEARCH_USE}. Hidden: {title}"[:64],
            **header.series("map", number),
        )
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_whole_brain()]
    return made


def axial_volume(values: NDArray[np.float32], affine: NDArray[np.float64], frame_uid: str) -> DicomVolume:
    """Values (X, Y, Z) with their affine in RAS as a volume of axial slices in DICOM's coordinates (LPS).

    Axes are exchanged and turned around, never interpolated.
    """
    from highdicom.volume import Volume as DicomVolume

    lps = _LPS_FROM_RAS @ affine + 0.0  # no negative zeros
    placed = DicomVolume(values.transpose(2, 1, 0), lps[:, [2, 1, 0, 3]], "PATIENT", frame_uid)
    return placed.to_patient_orientation(_AXIAL)


def _whole_brain() -> Dataset:
    """That the frames show an organ without a left or right of its own (PS3.3, C.7.6.16.2.8)."""
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    shown = Dataset()
    shown.FrameLaterality = "U"
    shown.AnatomicRegionSequence = [CodedConcept.from_code(codes.SCT.Brain)]
    return shown
