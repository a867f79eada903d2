"""A file for each command: its options, its help with examples, its output."""
