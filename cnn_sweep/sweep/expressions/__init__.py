"""The language of conditions and arithmetic: its parser, its values, and expressions on hyperparameters."""
