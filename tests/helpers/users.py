"""Commands that ordinary users of this machine type; only root can type them in somebody else's name."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

GROUP = "users"  # every Debian has it
_TESTS = str(Path(__file__).parent.parent)
_TYPE = """
from helpers.typed import typed_here
done = [typed_here(words, Path.cwd(), {}) for words in data]
print(json.dumps([{"returncode": d.returncode, "stdout": d.stdout, "stderr": d.stderr} for d in done]))
"""
_BEGIN = """
import json, os, signal, sys
from pathlib import Path
data = json.loads(os.environ["DATA"])
"""


@dataclass(frozen=True)
class User:
    """A user, who works in a folder of their own.

    Attributes:
        name: Name of the account.
        folder: Where they type.
        is_member: Whether they belong to the group that shares.
    """

    name: str
    folder: Path
    is_member: bool = True

    @property
    def uid(self):
        """Number of the account."""
        return pwd.getpwnam(self.name).pw_uid

    @property
    def gid(self):
        """Number of the account's own group."""
        return pwd.getpwnam(self.name).pw_gid

    def types(self, *commands, umask=0o022, **environment):
        """Type commands, all in one process; return what each prints, and its exit code."""
        done = self.runs(_TYPE, [list(map(str, words)) for words in commands], umask=umask, **environment)
        return [SimpleNamespace(**one) for one in json.loads(done.stdout)]

    def types_one(self, *words, code=0, umask=0o022, **environment):
        """Type one command; return what it prints."""
        (done,) = self.types(words, umask=umask, **environment)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def runs(self, program, data=None, *, umask=0o022, code=0, **environment):
        """Run a Python program, which has ``data``."""
        given = {"HOME": str(self.folder), "PYTHONPATH": _TESTS, "DATA": json.dumps(data)}
        done = subprocess.run(
            [sys.executable, "-c", _BEGIN + program],
            cwd=self.folder,
            env={**os.environ, **given, **environment},
            user=self.uid,
            group=self.gid,
            extra_groups=[grp.getgrnam(GROUP).gr_gid] if self.is_member else [],
            umask=umask,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def gets(self, folder):
        """Get a folder with all that is in it."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.gid)
