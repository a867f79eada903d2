"""Training of one trial, from its first epoch or from a checkpoint to its outcome."""
