"""What the cross-validation showed: numbers with intervals, beside the paper's, and figures."""
