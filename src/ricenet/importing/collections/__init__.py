"""Importers of public collections."""
