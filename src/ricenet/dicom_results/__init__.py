"""A prediction as DICOM objects of the patient's own study: report, brain mask, occlusion maps, case page."""
