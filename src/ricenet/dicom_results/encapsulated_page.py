"""The case page as an Encapsulated PDF; highdicom has no class of these, but what all objects share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ricenet.dicom_results.header import RESEARCH_USE, ResultHeader
from ricenet.dicom_results.sources import SourceImages, silently

if TYPE_CHECKING:
    from highdicom.base import SOPClass


def encapsulated_page(pdf: bytes, sources: SourceImages, header: ResultHeader) -> SOPClass:
    """The page, of the patient and study of the reference MRI, to whose images it refers.

    Source: DICOM PS3.3, A.45.1 and C.24.
    """
    from highdicom.base import SOPClass
    from pydicom.dataset import Dataset
    from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

    head = sources.heads[0]
    with silently():
        page = SOPClass(
            study_instance_uid=head.StudyInstanceUID,
            sop_class_uid=EncapsulatedPDFStorage,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            patient_id=head.PatientID,
            patient_name=head.PatientName,
            patient_birth_date=head.PatientBirthDate,
            patient_sex=head.PatientSex,
            accession_number=head.AccessionNumber,
            study_id=head.StudyID,
            study_date=head.StudyDate,
            study_time=head.StudyTime,
            referring_physician_name=head.ReferringPhysicianName,
            **header.series("page"),
        )
        page.copy_patient_and_study_information(head)
    page.ConversionType = "WSD"
    # nothing on the page says whose it is
    page.BurnedInAnnotation = "NO"
    page.AcquisitionDateTime = ""
    page.DocumentTitle = f"RICE-NET case page. {RESEARCH_USE}"
    page.ConceptNameCodeSequence = []
    page.MIMETypeOfEncapsulatedDocument = "application/pdf"
    page.SourceInstanceSequence = []
    for source in sources.heads:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
        page.SourceInstanceSequence.append(item)
    page.EncapsulatedDocumentLength = len(pdf)
    # elements have an even number of bytes; PDF may be followed by zeros
    page.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    return page
