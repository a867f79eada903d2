"""Samplers, pruners and the plan that numbers the trials of a study."""
