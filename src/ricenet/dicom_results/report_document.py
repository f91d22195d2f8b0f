"""The prediction as a structured report: a Comprehensive 3D SR of measurements and evaluations (TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ricenet.dicom_results.header import MANUFACTURER, ResultHeader, private_code, private_scheme
from ricenet.dicom_results.sources import SourceImages, silently
from ricenet.evaluation.evidence.abstention import INDETERMINATE
from ricenet.importing.dicom.instances import kind_of
from ricenet.inference.three_way import label_set_said

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import CodedConcept, Comprehensive3DSR
    from pydicom.dataset import Dataset

NUMBERS = {
    "p_rice": ("p_rice", "p_rice, mean of the folds"),
    "p_rice_calibrated": ("p_calibrated", "p_rice, calibrated"),
    "confidence": ("confidence", "Confidence of the likelier label"),
    "least_confidence": ("least_confidence", "Confidence needed for an answer"),
    "votes_rice": ("votes_rice", "Folds that vote for rice"),
    "folds": ("folds", "Folds"),
}
"""Entries of an answer that are numbers without a unit: their codes and meanings in the report."""


def report_document(
    answer: Mapping[str, Any],
    brain_ml: float,
    segmentation: Segmentation,
    maps: Sequence[Dataset],
    pages: Sequence[Dataset],
    sources: SourceImages,
    header: ResultHeader,
) -> Comprehensive3DSR:
    """The report, complete but preliminary and unverified, as nobody has looked at it.

    answer: as `ricenet predict` prints it, and of the same numbers. brain_ml: of the segment. maps, pages:
    the other results, to which the report refers, as to every source.
    Source: DICOM PS3.16, TID 1500, 1501, 1411, 4019; PS3.3, A.35.13.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    observer = sr.DeviceObserverIdentifyingAttributes(
        header.uid("device"), name="ricenet", manufacturer_name=MANUFACTURER, model_name=header.model
    )
    context = sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, observer))
    group = _prediction(answer, sources, header)
    group[0].ContentSequence.extend(_results(maps, pages))
    report = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.cid100.MRIUnspecifiedBodyRegion,
        imaging_measurements=[group, _brain(brain_ml, segmentation, sources, header)],
    )
    # before the measurements, where readers begin
    content = report[0].ContentSequence
    content.insert(len(content) - 1, _text(codes.DCM.Comment, str(answer["notice"])))
    with silently():
        return sr.Comprehensive3DSR(
            evidence=[*sources.heads, *sources.others, segmentation, *maps, *pages],
            content=report[0],
            is_complete=True,
            coding_schemes=private_scheme(),
            **header.series("report"),
        )


def _prediction(answer: Mapping[str, Any], sources: SourceImages, header: ResultHeader) -> Any:
    """The measurement group that holds what `predict` answers."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    parameters = [
        f"SHA-256 {answer['digest']}",
        f"modality set {answer['modality_set']}",
        f"seed {answer['seed']}",
        f"input {', '.join(answer['used'])}",
    ]
    algorithm = sr.AlgorithmIdentification(
        name=header.model,
        version=header.version,
        parameters=parameters,
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )
    numbers = [
        sr.Measurement(private_code(*code), answer[name], codes.UCUM.NoUnits)
        for name, code in NUMBERS.items()
        if answer[name] is not None
    ]
    three_way = sr.QualitativeEvaluation(
        private_code("three_way", "Three-way answer"), label_code(answer["three_way"])
    )
    images = [one for one in (*sources.heads, *sources.others) if kind_of(one.SOPClassUID) in ("MR", "CT")]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(header.uid("prediction"), "RICE-NET prediction"),
        finding_type=label_code(answer["label"]),
        algorithm_id=algorithm,
        finding_sites=[sr.FindingSite(codes.SCT.Brain)],
        measurements=numbers,
        qualitative_evaluations=[three_way],
    )
    folds = ", ".join(str(p) for p in answer["p_rice_folds"])
    group[0].ContentSequence.extend(
        [
            _text(private_code("why", "Reason of the three-way answer"), answer["three_way_why"]),
            _text(private_code("label_set", "Set of labels"), label_set_said(answer)),
            _text(private_code("p_rice_folds", "p_rice of each fold"), folds),
            *(_text(private_code("warning", "Warning"), warning) for warning in answer["warnings"]),
            *(sr.SourceImageForMeasurementGroup(one.SOPClassUID, one.SOPInstanceUID) for one in images),
        ]
    )
    return group


def label_code(label: str) -> CodedConcept:
    """The code of rice, recurrence, indeterminate, or of what is not known."""
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    known: dict[str, Any] = {"recurrence": codes.SCT.RecurrentTumor, INDETERMINATE: codes.SCT.Indeterminate}
    if label == "rice":
        # no standard scheme has it: radiation necrosis is one of its forms alone
        return private_code("rice", "Radiation-induced contrast enhancement")
    return CodedConcept.from_code(known.get(label, codes.SCT.Unknown))


def _results(maps: Sequence[Dataset], pages: Sequence[Dataset]) -> list[Any]:
    from highdicom.sr import CompositeContentItem, ImageContentItem

    return [
        *(
            ImageContentItem(
                private_code("map", "Occlusion map"), one.SOPClassUID, one.SOPInstanceUID,
                relationship_type="CONTAINS",
            )
            for one in maps
        ),
        *(
            CompositeContentItem(
                private_code("page", "Case page"), one.SOPClassUID, one.SOPInstanceUID,
                relationship_type="CONTAINS",
            )
            for one in pages
        ),
    ]  # fmt: skip


def _brain(brain_ml: float, segmentation: Segmentation, sources: SourceImages, header: ResultHeader) -> Any:
    """The measurement group of the brain mask: its volume, and the segment."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    millilitres = sr.CodedConcept("ml", "UCUM", "milliliter")
    segment = sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        1,
        source_series=sr.SourceSeriesForSegmentation(sources.heads[0].SeriesInstanceUID),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(header.uid("brain"), "brain"),
        referenced_segment=segment,
        finding_type=codes.SCT.Brain,
        measurements=[sr.Measurement(codes.SCT.Volume, round(brain_ml, 3), millilitres)],
    )


def _text(name: Any, value: str) -> Any:
    from highdicom.sr import TextContentItem

    return TextContentItem(name, value, "CONTAINS")
