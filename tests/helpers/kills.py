"""Kills a function with SIGKILL at one of the steps in which it touches the file system."""

from __future__ import annotations

import os
import signal
import sys

_STEPS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.utime", "os.scandir")


def run_and_kill(function, step):
    """Run a function in a process of its own, which is killed before this step; return whether it was.

    The steps of a function are the same each time, so every moment between two changes of files can be tried without
    waiting.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            left = [step]
            sys.addaudithook(lambda event, _: _count(event, left))
            function()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        return True
    assert os.WEXITSTATUS(ended) == 0, "it failed"
    return False


def _count(event, left):
    if event in _STEPS:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def steps_to_kill(function_on_a_copy, rounds):
    """Yield about ``rounds`` steps that are spread over a function, the first and the last ones among them.

    Args:
        function_on_a_copy: Runs the function once more with a step at which it is killed, and returns whether it was.
        rounds: Number of steps.
    """
    last = 1
    while function_on_a_copy(last):
        last *= 2
    low = last // 2
    while low + 1 < last:
        middle = (low + last) // 2
        low, last = (middle, last) if function_on_a_copy(middle) else (low, middle)
    found = {round(1 + place * (low - 1) / (rounds - 1)) for place in range(rounds)}
    yield from sorted(found | set(range(max(1, low - 3), low + 1)))
