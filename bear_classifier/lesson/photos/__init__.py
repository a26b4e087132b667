"""Lesson pages about photos and the trained model."""
