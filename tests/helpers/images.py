"""Image files that tests write."""

from __future__ import annotations

import io


def encoded(image, kind="PNG", **options):
    """Write an image of Pillow's to memory."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
