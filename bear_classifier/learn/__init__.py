"""Backbone, probe and fine-tuning. fastai and torch live here."""
