"""A case from DICOM folders to a prediction, and to DICOM objects that say the same."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ricenet import __version__
from ricenet.cohort.layout import RawSubject
from ricenet.config.params import ExplainParams
from ricenet.dicom_results.encapsulated_page import encapsulated_page
from ricenet.dicom_results.header import ResultHeader
from ricenet.dicom_results.parametric_map import occlusion_map
from ricenet.dicom_results.report_document import report_document
from ricenet.dicom_results.segmentation import brain_segmentation, on_scan
from ricenet.dicom_results.sources import SourceImages
from ricenet.display.pdf import page_as_pdf, require_weasyprint
from ricenet.evaluation.occlusion.explained_case import Case
from ricenet.evaluation.occlusion.page.case_page import map_title
from ricenet.evaluation.occlusion.page.printed_page import printed_page
from ricenet.evaluation.occlusion.subject_explainer import SubjectExplainer
from ricenet.importing.private_files import private_path
from ricenet.inference.case import CASE, CaseFiles, require_volumes
from ricenet.inference.dicom_case import case_source
from ricenet.inference.predict_subject import Prediction, Predictor
from ricenet.inference.three_way import label_set_said
from ricenet.preprocessing.brain.extraction import brain_tools
from ricenet.preprocessing.derivative_files import brain_mask_file
from ricenet.preprocessing.measurements import Measurements
from ricenet.runtime.errors import CohortError, ResultError, SourceError
from ricenet.runtime.files import atomic_folder, content_digest
from ricenet.volume import Volume, load_nifti

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

_NO_PAGE = "the results have no case page (page.dcm): a page as PDF is wanted"
_GO_WITHOUT = "do without: the other results are complete"


@dataclass(frozen=True)
class CaseResults:
    """What is known of a predicted case. answer: as `ricenet predict` prints it.

    brain: mask on the reference MRI's voxels, found by a tool of a version. page: PDF, where one can be made.
    """

    answer: Mapping[str, Any]
    sources: SourceImages
    brain: Volume
    found_by: tuple[str, str]
    case: Case
    page: bytes | None

    def objects(self) -> dict[str, Dataset]:
        """The DICOM objects, by their files' names."""
        header, sources = self._header(), self.sources
        segmentation = brain_segmentation(self.brain, *self.found_by, sources, header)
        declared, sees = self.case.anatomy.declared, self.case.explanation.modality_set
        maps = {
            f"map-{name}.dcm": occlusion_map(
                Volume(change, self.case.anatomy.grid),
                map_title(name, sees, declared),
                number,
                sources,
                header,
            )
            for number, (name, change) in enumerate(self.case.maps.items(), start=1)
        }
        pages = {} if self.page is None else {"page.dcm": encapsulated_page(self.page, sources, header)}
        brain_ml = float(self.brain.data.sum()) * self.brain.grid.voxel_ml
        # it refers to the page, so it is another report without one
        of_report = replace(header, key=content_digest([header.key, self.page is not None]))
        report = report_document(
            self.answer, brain_ml, segmentation, [*maps.values()], [*pages.values()], sources, of_report
        )
        return {"report.dcm": report, "brain.dcm": segmentation, **maps, **pages}

    def write(self, folder: Path) -> list[Path]:
        """Write the objects into a folder of the results' own within `folder`; returns their files.

        The folder appears whole, and one that is there already is left as it is: it holds the same results,
        and a stored object must not change.
        """
        own = folder / content_digest([self._header().key, self.page is not None])[:16]
        if not own.is_dir():
            with atomic_folder(own) as temporary:
                for name, made in self.objects().items():
                    encoded = io.BytesIO()
                    made.save_as(encoded, enforce_file_format=True)
                    # they name a patient, so no setting lets others read them
                    with private_path(temporary / name, encoded.tell()) as path:
                        path.write_bytes(encoded.getbuffer())
        return sorted(own.iterdir())

    def _header(self) -> ResultHeader:
        answer = self.answer
        content = {
            "sources": self.sources.uids,
            "answer": answer,
            "brain": _digest(self.brain.data),
            "maps": {name: _digest(change) for name, change in self.case.maps.items()},
            "software": __version__,
        }
        return ResultHeader(content_digest(content), answer["model"], answer["version"], answer["digest"])


def require_place(folder: Path) -> None:
    """See before the work that results can be written into a folder, which is made where it is missing.

    Raises ResultError: it is a file, or it or what it would lie in may not be written to.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        found = "may not be written to" if there.is_dir() else "is a file"
        raise ResultError(f"{there.name}: {found}. Name a folder for the results with --dicom-out")


def predict_with_results(
    predictor: Predictor, given: CaseFiles, origin: Mapping[str, Any], settings: ExplainParams
) -> tuple[Prediction, CaseResults]:
    """Predict a case as `Predictor.case` does, explain it by all folds, and keep what its results need.

    origin: which model it is, beside the answer. settings: of the occlusion maps. Without WeasyPrint there is
    no page, which is said at once.
    Raises CohortError: also where the case is of NIfTI files, or its reference MRI can carry no results.
    ResultError: a hidden cube is larger than what the networks see.
    """
    record = predictor.ensemble.record
    require_volumes(given, record)
    if lacking := [spec.name for spec in record.members if spec.name not in given.volumes]:
        raise CohortError(
            f"{CASE}: {', '.join(lacking)} missing: occlusion maps are made of all volumes that the model "
            f"{record.modality_set} sees. Give them, or leave --dicom-out out"
        )
    source = case_source(given, record.volumes)
    if source is None:
        raise CohortError(
            f"{CASE}: DICOM results are of the patient and study, and in the frame of reference, of the scan "
            "that they come from, and NIfTI files know none of these. Name the DICOM folders, or leave "
            "--dicom-out out"
        )
    try:
        sources = SourceImages.read(source)
    except SourceError as error:
        raise CohortError(f"{CASE}: {error}") from None
    explainer = SubjectExplainer(predictor.ensemble, settings, predictor.seed, synthetic=False)
    explainer.require_cubes_within()
    prints = _can_print()
    with (
        predictor.opened(given, source) as (raw, variables),
        tempfile.TemporaryDirectory(prefix="ricenet-results-") as folder,
    ):
        kept = Path(folder, CASE)
        kept.mkdir()
        prediction = predictor.subject(raw, variables, kept)
        answer = {**origin, **prediction.as_json()}
        case = _explained(explainer, raw, kept, answer)
        brain = load_nifti(kept / brain_mask_file(CASE))
        found_by = Measurements.of_subject(kept).brain_source
    tool = ("surroundings of a scan without its skull", __version__)
    if found_by == "hd_bet":
        name, _, version = brain_tools(record.known_preprocessing().brain)["brain_engine"].partition(" ")
        tool = (name, version)
    mask = on_scan(Volume(brain.data > 0.5, brain.grid), sources)
    page = page_as_pdf(printed_page(case, answer["warnings"]), _NO_PAGE, _GO_WITHOUT) if prints else None
    return prediction, CaseResults(answer, sources, mask, tool, case, page)


def _can_print() -> bool:
    try:
        require_weasyprint(_NO_PAGE, _GO_WITHOUT)
    except ResultError as error:
        logger.warning("warning: %s", error)
        return False
    return True


def _explained(explainer: SubjectExplainer, raw: RawSubject, kept: Path, answer: Mapping[str, Any]) -> Case:
    return explainer.explain(
        raw,
        kept,
        "n/a",
        {CASE: answer["variables"]},
        range(explainer.ensemble.record.folds),
        lambda _: answer["p_rice_calibrated"],
        {
            "version": f"{answer['model']} version {answer['version']}",
            "three-way answer": f"{answer['three_way']}: {answer['three_way_why']}",
            "set of labels": label_set_said(answer),
        },
    )


def _digest(data: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()
