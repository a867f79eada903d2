"""Where trials run: a worker trains them one after the other, a pool keeps workers alive, local and Slurm start pools.

Each folder may use those before it: the ``environment`` on this machine, ``freezing`` a sweep as a study,
``scheduling`` its trials, ``monitoring`` how it stands, the ``worker`` process, the ``pool`` of workers,
``array_jobs`` of pools on a cluster, and the ``models`` after training. Only ``worker.process`` and ``models.process``
reach TensorFlow; they are never imported, only started.
"""
