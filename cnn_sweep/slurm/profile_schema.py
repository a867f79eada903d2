"""JSON Schema of profiles, made from the model that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.json_schema import DRAFT, Schema, definitions
from cnn_sweep.slurm.profile import Profile

if TYPE_CHECKING:
    from pathlib import Path


def schema_line(schema: Path | str) -> str:
    """Return the comment that names a profile's schema to editors; it is the file's first line."""
    return f"#:schema {schema}"


def profile_schema() -> Schema:
    """Return the JSON Schema of a profile."""
    made = definitions([Profile])
    return {"$schema": DRAFT, "title": "Profile of cnn-sweep", **made.pop(Profile.__name__), "definitions": made}
