"""Collects what matters to a worker on the machine where it runs, without any other module of this package.

`doctor --job` copies this file beside its results and starts it on a node, where another Python, or none of our
packages, may be installed. It therefore uses the standard library alone, and nothing newer than Python 3.8.
"""

import fcntl
import importlib.util
import json
import locale
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035 - for Python 3.8

QUESTION, REPORT = "question.json", "report.json"
LOCKED = ("record", "whole")  # files that the asking process has locked, by record and as a whole
_DRIVER_TIMEOUT_S = 60.0
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 1 << 60  # version 1 of cgroups shows a huge number


def facts(packages: List[str]) -> Dict[str, Any]:  # noqa: UP006 - for Python 3.8
    """Return the facts of this process that must, or may, agree between two machines.

    Args:
        packages: Distributions whose versions are wanted.
    """
    spec = importlib.util.find_spec("cnn_sweep")
    return {
        "host": platform.node(),
        "executable": sys.executable,
        "versions": {"python": platform.python_version(), **_versions(packages)},
        "package": spec.origin if spec else None,
        "uid": os.getuid(),
        "user": _user(),
        "umask": _umask(),
        "home": os.path.expanduser("~"),  # noqa: PTH111 - Path.home() raises an error without a home
        "home_usable": os.access(os.path.expanduser("~"), os.R_OK | os.W_OK | os.X_OK),  # noqa: PTH111
        "encoding": sys.getfilesystemencoding(),
        "locale": os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "",
        "locale_installed": _locale_is_installed(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_limit": _memory_limit(),
        "temporary": _temporary(),
        "gpus": gpus_of_driver(),
    }


def _versions(packages: List[str]) -> Dict[str, str]:  # noqa: UP006
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _umask() -> str:
    mask = os.umask(0o077)
    os.umask(mask)
    return f"{mask:04o}"


def _locale_is_installed() -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "")
        locale.setlocale(locale.LC_CTYPE, before)
    except locale.Error:
        return False
    return True


def _memory_limit() -> Optional[int]:  # noqa: UP045
    """Return the kernel's memory limit of this process in bytes; None without one."""
    found = []
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _limits_up(_CGROUPS, path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _limits_up(_CGROUPS / "memory", path, "memory.limit_in_bytes")
    return min(found) if found else None


def _limits_up(root: Path, path: str, name: str) -> List[int]:  # noqa: UP006
    """Return the limits of a control group and of those that contain it."""
    found = []
    folder = root / path.strip("/")
    for group in (folder, *folder.parents):
        if group != root and root not in group.parents:
            break
        try:
            text = (group / name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < _UNLIMITED_BYTES:
            found.append(int(text))
    return found


def _temporary() -> Dict[str, Any]:  # noqa: UP006
    asked = os.environ.get("TMPDIR", "")
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return {"asked": asked, "folder": "", "free": 0, "error": str(error)}
    return {"asked": asked, "folder": folder, "free": free, "error": ""}


def gpus_of_driver() -> Dict[str, Any]:  # noqa: UP006
    """Return the GPUs of the driver, and why there are none."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_DRIVER_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"driver": [], "error": str(error)}
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPU ")] if done.returncode == 0 else []
    return {"driver": lines, "error": "" if lines else " ".join(done.stdout.split())}


def _locks_granted(folder: Path) -> List[str]:  # noqa: UP006
    """Return which locks this process gets although the asking process holds them."""
    granted = []
    for name, lock in zip(LOCKED, (fcntl.lockf, fcntl.flock)):  # noqa: B905 - strict= needs Python 3.10
        with (folder / name).open("r+b") as file:
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError as error:
                granted.append(f"{name} ({error.strerror})")
                continue
            granted.append(name)
    return granted


def tensorflow(script: str, timeout_s: float) -> Dict[str, Any]:  # noqa: UP006
    """Start TensorFlow in a process of its own, which it may kill; return what the script prints, or an error.

    Args:
        script: Program that prints version, seconds and gpus as JSON in its last line.
        timeout_s: Longest time that it may take, in seconds.
    """
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    command = [sys.executable, *safe_path, "-c", script]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return {"timeout_s": timeout_s}
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        found: Dict[str, Any] = json.loads(lines[-1])  # noqa: UP006
        return found
    words = done.stderr.strip().splitlines()
    return {"exit": done.returncode, "error": words[-1] if words else "it was killed"}


def _write(folder: Path, report: Dict[str, Any]) -> None:  # noqa: UP006
    aside = folder / (REPORT + ".new")
    aside.write_text(json.dumps(report), encoding="utf-8")
    os.replace(str(aside), str(folder / REPORT))  # noqa: PTH105 - Path.replace() needs a Path in Python 3.8


def main() -> None:
    """Answer the question in the folder that the command line names; the report grows while checks end."""
    folder = Path(sys.argv[1])
    question = json.loads((folder / QUESTION).read_text(encoding="utf-8"))
    report = facts(question["packages"])
    report["nonce"] = question["nonce"]
    report["locks_granted"] = _locks_granted(folder)
    _write(folder, report)
    report["tensorflow"] = tensorflow(question["tensorflow"], question["timeout_s"])
    _write(folder, report)


if __name__ == "__main__":
    main()
