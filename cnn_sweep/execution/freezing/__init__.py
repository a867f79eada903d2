"""A sweep becomes a study: frozen text, the user's modules, results of other programs."""
