"""The phantom as a DICOM export."""
