"""The record of a study: journals of events (one per process), claims on attempts, and the history read from them."""
