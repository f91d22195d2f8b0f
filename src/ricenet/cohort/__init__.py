"""Raw cohorts: their layout on disk, the participants table, and what can be wrong with them."""
