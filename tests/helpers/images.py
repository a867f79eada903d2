"""Image files that tests write."""

from __future__ import annotations

import io
import struct
import zlib


def encoded(image, kind="PNG", **options):
    """Write an image of Pillow's to memory."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind, data):
    """Write a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png, kind, data):
    """Put a chunk before a PNG file's pixels."""
    at = png.index(b"IDAT") - 4
    return png[:at] + png_chunk(kind, data) + png[at:]


def deep_png(values):
    """Write 16 bits per channel, which Pillow cannot: shape (height, width, channels), 1 to 4 of them."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff(values, order="<", planar=1, more=()):
    """Write a TIFF of 8 or 16 bits per channel; ``more`` are tags: (number, type, count, data)."""
    height, width, channels = values.shape
    planes = [values] if planar == 1 else [values[..., k] for k in range(channels)]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    places = [8 + sum(map(len, strips[:k])) for k in range(len(strips))]
    shorts = {256: [width], 257: [height], 258: [8 * values.itemsize] * channels, 259: [1], 262: [2 - (channels == 1)]}
    shorts |= {277: [channels], 278: [height], 284: [planar]}
    tags = [(tag, 3, len(given), struct.pack(f"{order}{len(given)}H", *given)) for tag, given in shorts.items()]
    for tag, given in ((273, places), (279, list(map(len, strips)))):
        tags.append((tag, 4, len(given), struct.pack(f"{order}{len(given)}I", *given)))
    pixels = b"".join(strips)
    return {"<": b"II*\0", ">": b"MM\0*"}[order] + _directory([*tags, *more], order, 8, pixels)


def exif(*tags):
    """Write EXIF data with tags: (number, type, count, data)."""
    return b"Exif\0\0II*\0" + _directory(tags, "<", 8, b"")


def _directory(tags, order, start, before):
    first = start + len(before)
    outside = first + 2 + 12 * len(tags) + 4
    entries, more = b"", b""
    for tag, kind, count, data in sorted(tags):
        value = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", outside + len(more))
        more += data if len(data) > 4 else b""
        entries += struct.pack(f"{order}HHI", tag, kind, count) + value
    return struct.pack(f"{order}I", first) + before + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + more
