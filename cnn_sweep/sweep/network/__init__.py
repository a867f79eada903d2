"""The network that a sweep file describes: its layers, and their sizes, worked out without TensorFlow."""
