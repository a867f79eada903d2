"""Images and labels: where they come from, how they are split, and the prepared folder that workers map."""
