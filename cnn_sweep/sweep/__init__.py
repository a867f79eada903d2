"""What the user wrote: the sweep file, its search space, and the network that it describes."""
