"""A registered ensemble as a MONAI bundle, which runs where ricenet is not installed."""
