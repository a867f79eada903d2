"""Completion of commands in bash, zsh and fish."""
