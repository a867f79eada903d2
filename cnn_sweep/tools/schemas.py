"""Writes the JSON Schemas of sweep files and profiles into the package (``make schema``)."""

from __future__ import annotations

import json

from cnn_sweep.shipped import schemas
from cnn_sweep.slurm.profile_schema import profile_schema
from cnn_sweep.sweep.file.schema import sweep_schema


def schema_texts() -> dict[str, str]:
    """Return the text of each schema by the kind of file that it describes."""
    made = {"sweep": sweep_schema(), "profile": profile_schema()}
    return {kind: f"{json.dumps(schema, indent=1)}\n" for kind, schema in made.items()}


def main() -> None:
    """Write both files."""
    for kind, text in schema_texts().items():
        schemas()[kind].write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
