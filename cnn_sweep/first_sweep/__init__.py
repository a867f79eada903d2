"""A first sweep file for somebody's images: looks at them, proposes each section with a reason, and writes the text."""
