"""What happened: each process's journal of events, claims on attempts, and the history read from both."""
