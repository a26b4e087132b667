"""Lesson pages without photos: gradient descent, learning rates, losses."""
