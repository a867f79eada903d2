"""A report as a document: one self-contained page, its sections, style and script, or the same as Markdown."""
