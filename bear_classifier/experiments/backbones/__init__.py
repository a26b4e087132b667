"""Compare backbones by a linear probe on their features."""
