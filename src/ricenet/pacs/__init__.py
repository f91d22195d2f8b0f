"""A hospital's PACS, reached by DICOMweb: what is fetched from it, and how it is asked."""
