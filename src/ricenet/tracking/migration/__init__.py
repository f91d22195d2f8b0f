"""Runs, models and versions of a project's own MLflow store, copied to a server."""
