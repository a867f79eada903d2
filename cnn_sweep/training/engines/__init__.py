"""Epochs as calls on plain data: as one TensorFlow graph each, or by Keras's own loop."""
