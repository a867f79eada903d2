"""The report as one self-contained page: its sections, its style and its script."""
