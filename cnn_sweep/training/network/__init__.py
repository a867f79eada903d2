"""What a sweep file says of a network as a Keras model: layers, pretrained bases, precision, and the saved file."""
