"""Brain extraction with HD-BET, or from a given mask."""
