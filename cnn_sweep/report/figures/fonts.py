"""The font of pictures: one with most of the world's letters if this machine has it, else Pillow's own."""

from __future__ import annotations

import unicodedata

from PIL import ImageFont

_NO_CHARACTER = "\uffff"  # drawn as the box that stands for all characters that a font lacks

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def load_font(size: int) -> Font:
    """Load DejaVu Sans (Debian: fonts-dejavu-core), or Pillow's own font, which has hardly more than ASCII."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)


def drawable(text: str, font: Font) -> str:
    """Replace the characters that a font lacks by their plain letters, or by question marks."""
    box = bytes(font.getmask(_NO_CHARACTER))
    return "".join(
        character if character.isascii() or bytes(font.getmask(character)) != box else _plain(character)
        for character in unicodedata.normalize("NFC", text)
    )


def _plain(character: str) -> str:
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"
