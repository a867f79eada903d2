"""Predictions of a study's trained models, and their test scores."""
