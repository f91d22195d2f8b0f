"""Burdenko-GBM-Progression (TCIA, DOI 10.7937/E1QP-D183): its clinical table, its visits, its images."""
