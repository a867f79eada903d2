"""What predictions and learning curves are worth, and what a trained network makes of images."""
