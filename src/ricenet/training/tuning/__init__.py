"""The search for settings of a modality set (Optuna)."""
