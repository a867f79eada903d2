"""What can vary: hyperparameters, conditions on them, and the values of a sweep file that refer to them."""
