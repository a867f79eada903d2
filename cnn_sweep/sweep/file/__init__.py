"""From the text of a sweep file to its sections: YAML, and every mistake with its line."""
