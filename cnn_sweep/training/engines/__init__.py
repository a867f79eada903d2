"""Engines that run an epoch from plain data: as one TensorFlow graph, or with Keras's own training loop."""
