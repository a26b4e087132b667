"""The report: one page on a model and its data."""
