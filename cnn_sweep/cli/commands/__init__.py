"""One file per command, with its options, its help with examples, and its output."""
