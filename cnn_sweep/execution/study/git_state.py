"""The commit and the changes of the repository that a sweep file is in, read without running anything of it.

A repository's own settings can name programs that git runs: a file system monitor, hooks, filters of files, programs
that show differences. A repository may come from an archive or from a colleague, so none of them may run only because
somebody trains the sweep in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PATIENCE_S: Final = 10.0
_MOST_BYTES: Final = 1 << 18  # of one answer
_MOST_NAMES: Final = 1000
_DIFF: Final = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty")
# Files beside the sweep that decide what a trial does. Others, such as `.env` or a profile, often have passwords.
_COMPARED: Final = (":(glob)**/*.py", ":(glob)**/*.yaml", ":(glob)**/*.yml", ":(exclude,glob)**/.*/**")
_NO_PROGRAMS: Final = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "diff.external": "",
    "protocol.allow": "never",  # a partial clone would fetch what it lacks, by a program that it names
    "safe.bareRepository": "explicit",
}
# Settings of a repository that name programs for some of its files: `filter.NAME.clean`, `diff.NAME.textconv`.
_OF_FILES: Final = re.compile(r"(filter|diff)\.(.+)\.(clean|smudge|process|required|textconv|command)", re.DOTALL)
_KEPT: Final = frozenset(
    {
        *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
        *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    }
)
_CHANGED: Final = re.compile(r'^diff --git (?:"?a/.*?"? )"?b/(.*?)"?$', re.MULTILINE)


def git_state(folder: Path) -> dict[str, Any]:
    """Describe the repository that a folder is in.

    Returns:
        ``sha``, the commit; ``changed``, names of the files that differ from it, relative to the repository; and
        ``diff``, the changes of Python and sweep files in the folder, without what looks secret. Each is None if it
        is unknown, as outside a repository.
    """
    settings = _safe_settings(folder)
    if settings is None:
        return {"sha": None, "changed": None, "diff": None}
    sha = _git(folder, settings, "rev-parse", "--verify", "HEAD")
    names = _git(folder, settings, *_DIFF, "--name-only", "-z", "HEAD")
    diff = _git(folder, settings, *_DIFF, "HEAD", "--", *_COMPARED)
    return {
        "sha": None if sha is None else sha.strip(),
        "changed": None if names is None else [name for name in names.split("\0") if name][:_MOST_NAMES],
        "diff": None if diff is None else masked(diff.strip()),
    }


def changed_files(state: dict[str, Any]) -> list[str]:
    """Return the names of the changed files of a state; earlier versions recorded only the differences."""
    if isinstance(names := state.get("changed"), list):
        return [str(name) for name in names]
    return _CHANGED.findall(str(state.get("diff") or ""))


def _safe_settings(folder: Path) -> list[str] | None:
    """Return git's options that switch off every program that the repository names; None without a repository."""
    listing = _git(folder, _options(_NO_PROGRAMS), "config", "--list", "--show-scope", "--name-only", "-z")
    if listing is None:
        return None
    fields = listing.split("\0")
    own = {name for scope, name in zip(fields[::2], fields[1::2], strict=False) if scope in {"local", "worktree"}}
    chosen = dict(_NO_PROGRAMS)
    for name in own:
        if found := _OF_FILES.fullmatch(name):
            chosen[name] = "false" if found[3] == "required" else ""
    if any("=" in name for name in chosen):
        return None  # `-c` cannot say such a name
    return _options(chosen)


def _options(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _git(folder: Path, settings: Sequence[str], *words: str) -> str | None:
    """Return git's answer, cut to a size; None if git is missing, refuses or takes too long."""
    try:
        process = subprocess.Popen(
            ["git", "--no-pager", *settings, "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )
    except OSError:
        return None
    timer = threading.Timer(_PATIENCE_S, process.kill)
    timer.start()
    with process:
        if process.stdout is None:
            raise ValueError("it has no standard output")
        answer = process.stdout.read(_MOST_BYTES)
        is_cut = bool(process.stdout.read(1))
        if is_cut:
            process.kill()
        code = process.wait()
    timer.cancel()
    text = answer.decode("utf-8", errors="replace")
    if is_cut:
        return f"{text}\n… cut after {_MOST_BYTES} bytes"
    return text if code == 0 else None


def _environment() -> dict[str, str]:
    """Return our environment without git's variables, which name other repositories and programs."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return ours | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
