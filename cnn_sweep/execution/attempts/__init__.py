"""Attempts at trials: the next one and its parameters, dead workers, retries, cancellation."""
