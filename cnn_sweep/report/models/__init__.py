"""Trained models at work: predictions, mistakes, and how far the test score can be trusted."""
