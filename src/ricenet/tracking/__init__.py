"""MLflow: runs, registered models and champions; the only package that imports it."""
