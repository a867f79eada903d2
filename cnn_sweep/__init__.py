"""Hyperparameter sweeps of convolutional networks on Slurm clusters."""
