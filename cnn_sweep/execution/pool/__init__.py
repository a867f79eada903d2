"""The workers of one machine or of one Slurm array task."""
