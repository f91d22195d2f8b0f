"""One self-contained page that reports what a run of the pipeline found."""
