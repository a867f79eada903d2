"""The language of conditions and arithmetic: its parser, its evaluation, and expressions on hyperparameters."""
