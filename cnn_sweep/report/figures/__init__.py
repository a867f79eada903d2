"""Figures of a study, image files, contact sheets and learning curves."""
