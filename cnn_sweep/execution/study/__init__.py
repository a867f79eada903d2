"""One study on disk: its revisions, the copy of the user's modules, provenance, threads, jobs in the queue."""
