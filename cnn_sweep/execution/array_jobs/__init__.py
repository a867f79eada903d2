"""Slurm array jobs whose elements are pools of workers."""
