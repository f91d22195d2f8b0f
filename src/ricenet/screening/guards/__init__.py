"""Guards against leaks: what could make a score better than the method is."""
