"""One self-contained page that tells what a run of the pipeline found."""
