"""The parameter file: frozen, strict models, presets and tuned values."""
