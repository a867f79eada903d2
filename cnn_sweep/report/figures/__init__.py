"""Figures of a study: plots, image files, contact sheets and learning curves."""
