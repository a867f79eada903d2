"""The network of a sweep file: its layers, and their shapes and parameter counts, without TensorFlow."""
