"""Evaluation: metrics of predictions, summaries of learning curves, and exported models."""
