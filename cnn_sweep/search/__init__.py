"""What to try next: samplers, and the plan that numbers the trials."""
