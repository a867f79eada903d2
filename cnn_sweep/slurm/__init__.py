"""Communication with Slurm: profiles, a cluster's limits, the commands and their output, the states of jobs.

Nothing here knows about studies or trials; :mod:`cnn_sweep.execution` connects the two.
"""
