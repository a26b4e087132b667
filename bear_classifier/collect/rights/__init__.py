"""Whose photos these are, and taking photos down."""
