"""The network of a sweep file: its layers, their shapes and parameter counts, without TensorFlow."""
