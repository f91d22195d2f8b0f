"""External validation: a sealed package goes out, aggregated results come back, and no patient moves."""
