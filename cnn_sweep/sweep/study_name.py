"""What a study can be called: its name is that of its folder, and of views in the store."""

from __future__ import annotations

import re
from typing import Final

# The store and what SQLite keeps beside it are in the same folder as the studies.
STUDY_NAME: Final = re.compile(r"(?!(?i:sweeps\.db)(?:[.-].*)?\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RULE: Final = (
    "1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit; 'sweeps.db' is the store's own file"
)
