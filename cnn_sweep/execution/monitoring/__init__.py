"""How a study stands: its progress, its jobs, dead attempts; telling people of it, and ending it by hand."""
