"""Sweep files: the search space, the network, the other sections, and a reader that reports all mistakes."""
