"""What a machine offers a study: its GPUs and packages, and how results tell where they come from."""
