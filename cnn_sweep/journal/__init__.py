"""What happened: files that only their writer appends to, claims, and the reading of both."""
