"""One trial from its first epoch to its outcome, or from a checkpoint on."""
