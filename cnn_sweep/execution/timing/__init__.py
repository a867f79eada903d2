"""How fast this machine trains a sweep's network, by workers and their threads."""
