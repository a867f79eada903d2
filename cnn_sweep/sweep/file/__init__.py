"""Reading a sweep file: YAML, each section, and all problems with their lines."""
