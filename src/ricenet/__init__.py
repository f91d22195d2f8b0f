"""RICE-NET: tumour recurrence or radiation-induced contrast enhancement, from two MRIs and a dose map."""

import os

# MONAI imports mlflow, which would otherwise prepare to report its use to its makers
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

__version__ = "0.1.0"
