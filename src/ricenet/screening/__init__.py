"""Before training: guards against leakage, and quality control."""
