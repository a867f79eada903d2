"""Where trials run: a worker trains them one after the other, a pool keeps workers alive, local and Slurm start pools.

Each folder may use those before it: the ``environment`` on this machine, a ``study`` on disk, ``attempts`` at its
trials, ``monitoring`` of its progress, the ``worker`` process, the ``pool`` of workers,
``array_jobs`` of pools on a cluster, and the ``models`` after training. Only ``worker.process`` and ``models.server``
reach TensorFlow; they are never imported, only started.
"""
