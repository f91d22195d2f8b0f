"""Rigid registration with ANTs, and how far it can be believed."""
