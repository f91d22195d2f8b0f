"""Reading DICOM: files to series, series to volumes, radiotherapy objects to what they state."""
