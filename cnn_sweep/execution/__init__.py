"""Execution of trials: a worker trains them one after another, a pool keeps workers alive, array jobs run pools.

Each part may import from those before it: the ``machine``, the ``study`` on disk, ``attempts`` at its trials, the
``worker`` process, the ``pool`` of workers, ``array_jobs`` of pools on a cluster, and use of trained ``models``. Only
``worker.fork_server``, ``worker.worker`` and ``models.server`` load TensorFlow; they are processes of their own.
"""
