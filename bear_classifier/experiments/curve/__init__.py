"""Learning curves: error against the number of photos."""
