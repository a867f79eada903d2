"""Attempts at trials: which comes next and with which parameters, who is alive, retries, cancellation."""
