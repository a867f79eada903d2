"""The search of a study: samplers, pruners, and the plan that numbers its trials."""
