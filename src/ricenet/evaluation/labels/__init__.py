"""Evaluation of other labels than the paper's two: probabilities (N, K), one number a label."""
