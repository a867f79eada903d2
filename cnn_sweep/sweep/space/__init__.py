"""The search space: hyperparameters, conditions and expressions on them, grids, and templates with references."""
