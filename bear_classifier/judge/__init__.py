"""What the figures say: pure numpy kernels over predictions."""
