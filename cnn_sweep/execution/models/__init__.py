"""Trained models at work, in a process of their own: predictions, activations, and the sealed test set."""
