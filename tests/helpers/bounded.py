"""Types commands that must end soon and in little memory: each in a fork of one process that has loaded the program."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SECONDS: Final = 5.0  # of processor time
MOST_BYTES: Final = 500_000_000
_WAITING_S: Final = 120  # a command that waits for a pipe uses no processor time


@dataclass(frozen=True)
class Answer:
    """What a command did.

    Attributes:
        exit_code: Its exit code; negative if a signal ended it.
        output: What it printed.
        seconds: Its processor time.
        size: Its largest memory, in bytes.
    """

    exit_code: int
    output: str
    seconds: float
    size: int


def typed(commands: Sequence[Sequence[str]], folder: Path) -> list[Answer]:
    """Type commands in a folder, one after another, each with limits on its time and memory."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(commands),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    return [Answer(**answer) for answer in json.loads(done.stdout)]


def check(answer: Answer, *words: str) -> None:
    """Check that a command refused its input in time, in words that a user understands."""
    assert answer.seconds < MOST_SECONDS, answer
    assert answer.size < MOST_BYTES, answer
    assert answer.exit_code == 2, answer
    assert "Traceback" not in answer.output
    for one in words:
        assert one in answer.output, answer.output[-2000:]
    assert len(answer.output) < 40_000


def _run(words: list[str], output: int) -> None:
    """Type a command in this process, a fork, and end it."""
    exit_code = 99
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * MOST_SECONDS), int(2 * MOST_SECONDS) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (8 * MOST_BYTES, 8 * MOST_BYTES))  # maps more than it uses
        signal.alarm(_WAITING_S)
        sys.argv = ["cnn-sweep", *words]
        from cnn_sweep.cli.main import main

        main()
        exit_code = 0
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else 0
    finally:
        if exit_code == 99:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.stdout.flush()
        os._exit(exit_code)


def _answer(words: list[str]) -> Answer:
    with tempfile.TemporaryFile() as output:
        process = os.fork()
        if not process:
            _run(words, output.fileno())
        _, status, used = os.wait4(process, 0)
        output.seek(0)
        text = output.read(200_000).decode(errors="replace")
    return Answer(os.waitstatus_to_exitcode(status), text, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def main() -> None:
    """Answer the commands that standard input lists."""
    for name in ("main", "commands.data", "commands.init", "commands.plan"):
        importlib.import_module(f"cnn_sweep.cli.{name}")  # once, for all forks
    sys.stdout.write(json.dumps([vars(_answer(words)) for words in json.loads(sys.stdin.read())]))


if __name__ == "__main__":
    main()
