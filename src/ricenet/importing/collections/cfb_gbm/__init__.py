"""CFB-GBM (TCIA, DOI 10.7937/v9pn-2f72): its tables, its weak labels, its NIfTI files."""
