"""Tasks on the machines of a Ray cluster, which share no files with this one. The only importer of ray."""
