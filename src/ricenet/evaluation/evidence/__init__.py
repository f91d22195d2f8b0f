"""What a sceptical reader wants to know of a cross-validation, beyond its scores."""
