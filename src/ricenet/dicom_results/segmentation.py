"""The brain mask as a Segmentation, image by image over the reference MRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ricenet.dicom_results.header import RESEARCH_USE, ResultHeader
from ricenet.dicom_results.sources import SourceImages, silently
from ricenet.preprocessing.cube import on_cube
from ricenet.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import Segmentation


def on_scan(mask: Volume, sources: SourceImages) -> Volume:
    """A mask, of a finer or coarser grid, on the voxels of the reference MRI: those that it half fills."""
    return Volume(on_cube(mask, sources.grid, 1) >= 0.5, sources.grid)


def brain_segmentation(
    brain: Volume, found_by: str, version: str, sources: SourceImages, header: ResultHeader
) -> Segmentation:
    """One segment, a frame for each image of the reference MRI, empty ones too.

    brain: (X, Y, Z) mask on the grid of the sources. found_by, version: the tool that found it.
    Positions are the source's own, to the last digit: viewers that lay frames over images find each its own.
    Source: DICOM PS3.3, A.51.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(found_by, codes.DCM.ArtificialIntelligence, version)
    segment = SegmentDescription(
        1, "Brain", codes.SCT.AnatomicalStructure, codes.SCT.Brain, "AUTOMATIC", algorithm,
        tracking_uid=header.uid("brain"), tracking_id="brain",
    )  # fmt: skip
    with silently():
        return Segmentation(
            source_images=sources.heads,
            pixel_array=sources.images_of(np.asarray(brain.data, dtype=np.bool_)).astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=[segment],
            content_label="BRAIN",
            content_description=f"Brain mask. {RESEARCH_USE}",
            omit_empty_frames=False,
            **header.series("brain"),
        )
