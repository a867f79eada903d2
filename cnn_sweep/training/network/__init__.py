"""Keras models from sweep files: layers, pretrained bases, the user's functions, precision, and export."""
