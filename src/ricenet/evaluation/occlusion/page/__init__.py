"""Pages of explained predictions: one a subject, with a viewer, and a gallery of all."""
