"""Sweep files: the search space, the network, the other sections, and the reader that finds every mistake."""
