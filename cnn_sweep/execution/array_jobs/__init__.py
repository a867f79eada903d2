"""Pools as the elements of Slurm array jobs."""
