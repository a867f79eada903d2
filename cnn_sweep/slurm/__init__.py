"""What Slurm is told and what it says: profiles, the cluster's limits, its commands' rows, the fates of jobs.

Nothing here knows studies or trials; :mod:`cnn_sweep.execution` joins the two.
"""
