"""Use of trained models in a separate process: predictions, activations, and the sealed test set."""
