"""From a hospital's export or a public collection to a raw cohort without identifiers."""
