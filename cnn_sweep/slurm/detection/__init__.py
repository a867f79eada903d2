"""Writes a profile for a cluster: each setting with its reason. No module here calls a command."""
