"""Where trials run: a worker trains them one after the other, a pool keeps workers alive, local and Slurm start pools.

Only :mod:`cnn_sweep.execution.worker` reaches TensorFlow; it is never imported, only started as a process.
"""
