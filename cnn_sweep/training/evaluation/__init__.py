"""Metrics of predictions, numbers of learning curves, and the use of exported models."""
