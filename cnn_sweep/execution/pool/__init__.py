"""Starts and replaces the workers of one machine, measures the study's progress, and sends notifications at its end."""
