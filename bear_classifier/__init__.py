"""Photos become a dataset that can be audited, a checked model, and a page anyone can use."""

__version__ = "0.1.0"
