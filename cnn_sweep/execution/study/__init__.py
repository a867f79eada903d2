"""One study on disk: its revisions, journals, provenance and threads, the user's code, and its jobs in Slurm."""
