"""A synthetic cohort with a documented cause (docs/phantom.md), made from the MNI tissue maps."""
