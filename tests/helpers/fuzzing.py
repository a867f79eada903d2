"""Fuzzing: what the program makes of odd content, examined in this process.

A target is a function of the content of a file. It may return, or raise one of the project's own errors. Anything else
is a finding: another exception, a command that takes more than 5 s of processor time, 500 MB of memory, control
characters on the terminal, an exit code that is not documented, a message that does not name the file.

The usual run of the tests has a few dozen contents for each target, the same each time. ``make fuzz`` sets
``CNN_SWEEP_FUZZ`` and ``CNN_SWEEP_SEED`` for as many as one likes. ``tests/fuzz/corpus/`` keeps what was found once.
"""

from __future__ import annotations

import copy
import os
import re
import resource
import signal
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from helpers.typed import typed_here
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cnn_sweep.errors import CnnSweepError

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
FOUND = Path(__file__).parents[2] / "build" / "fuzz"
LIMIT_S = 5.0  # of processor time
LIMIT_MB = 500
EXIT_CODES = (0, 1, 2, 3, 130)  # docs/reference/exit-codes.md
ENVIRONMENT = {"CNN_SWEEP_LOCKS": "honest", "COLUMNS": "80"}
# Those of terminals, besides tabs and line breaks.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ROOM_MB = 2_000  # of address space, above which an allocation fails
_LONGEST = 100  # lines of a message
_MB = 1 << 20


class Found(AssertionError):
    """What the program must not do."""


class _TooLong(BaseException):
    """The time is up; no `except Exception` of the program ends this."""


@dataclass
class Clock:
    """Processor time of one step of an examination.

    Attributes:
        began: When the step began.
        slowest_s: Time of the slowest step since the examination began.
    """

    began: float = 0.0
    slowest_s: float = 0.0

    def next_step(self):
        """End a step, and give the next one its time."""
        now = time.process_time()
        self.slowest_s = max(self.slowest_s, now - self.began)
        self.began = now
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)


CLOCK = Clock()


@dataclass
class Tally:
    """Figures of one target.

    Attributes:
        name: The target.
        cases: Number of contents examined.
        slowest_s: Processor time of the slowest command.
        growth_mb: Largest growth of this process's memory by one of them.
        findings: The shortest content for each finding.
    """

    name: str
    cases: int = 0
    slowest_s: float = 0.0
    growth_mb: float = 0.0
    findings: dict[str, bytes] = field(default_factory=dict)

    def add(self, target, content):
        """Examine one content."""
        self.cases += 1
        before = _peak_mb()
        found = finding(target, content)
        self.slowest_s = max(self.slowest_s, CLOCK.slowest_s)
        self.growth_mb = max(self.growth_mb, _peak_mb() - before)
        if found is not None and len(content) < len(self.findings.get(found, content + b" ")):
            self.findings[found] = content
            _keep(self.name, found, content)

    def __str__(self):
        """Return the figures as a line of a table."""
        figures = f"{self.cases:>8,}{len(self.findings):>10}{self.slowest_s:>10.2f} s{self.growth_mb:>8.0f} MB"
        return f"{self.name:<16}{figures}"


TALLIES: list[Tally] = []


def corpus(name):
    """Return the contents that are kept for a target, by their file names."""
    return {file.name: file.read_bytes() for file in sorted((CORPUS / name).iterdir())}


def fuzz(name, target, contents, *, few, share):
    """Examine many contents; fail with all findings, of which the shortest contents are left in ``build/fuzz``.

    Args:
        name: The target's name.
        target: A function of the content.
        contents: The strategy that makes contents.
        few: Number of contents in the usual run.
        share: Share of ``CNN_SWEEP_FUZZ`` in a long run.
    """
    tally = Tally(name)
    TALLIES.append(tally)
    wanted = os.environ.get("CNN_SWEEP_FUZZ")
    many = few if wanted is None else max(1, round(int(wanted) * share))

    @settings(
        max_examples=many,
        deadline=None,
        database=None,
        derandomize=wanted is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def examine(content):
        tally.add(target, content)

    if wanted is not None:
        examine = seed(int(os.environ.get("CNN_SWEEP_SEED", "0")))(examine)
    examine()
    assert not tally.findings, "\n".join(f"{_place(name, found)}: {found}" for found in tally.findings)


def _keep(name, found, content):
    file = _place(name, found)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _place(name, found):
    return FOUND / name / f"{crc32(found.encode('utf-8', 'replace')):08x}"


def finding(target, content):
    """Return what the program must not do with a content; None if all is well."""
    before = _peak_mb()
    try:
        with _limits():
            target(content)
    except CnnSweepError as error:
        if reason := _odd_message(str(error)):
            return reason
    except Found as found:
        return str(found)
    except _TooLong:
        return f"more than {LIMIT_S:g} s"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return _described(error)
    if CLOCK.slowest_s > LIMIT_S:
        return f"more than {LIMIT_S:g} s"
    return f"more than {LIMIT_MB} MB" if _peak_mb() - before > LIMIT_MB else None


def _described(error):
    """Return an exception with its place in the package, by which findings are told apart."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/cnn_sweep/" in frame.filename] or frames
    at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}"
    return f"{type(error).__name__} at {at}, from {Path(frames[-1].filename).name} {frames[-1].name}"


def _odd_message(text):
    if not text.strip() or "\n\n" in text.strip():
        return f"a message that is not one paragraph: {text[:200]!r}"
    if len(text.splitlines()) > _LONGEST:
        return f"a message of {len(text.splitlines())} lines"
    return f"control characters: {text[:200]!r}" if CONTROL.search(text) else None


def check_message(text):
    """Check that a message is a paragraph without control characters.

    Raises:
        Found: It is not.
    """
    if reason := _odd_message(text):
        raise Found(reason)


@contextmanager
def _limits():
    """End a block after 5 s of processor time; allocations above 2 GB fail in it."""

    def stop(_signal, _frame):
        raise _TooLong

    usual = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _ROOM_MB * _MB, usual[1]))
    CLOCK.next_step()
    CLOCK.slowest_s = 0.0
    try:
        yield
    finally:
        CLOCK.next_step()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, usual)


def _address_space():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def _peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def typed(folder, *words, names=(), environment=()):
    """Type a command, which has 5 s of its own; return what it prints.

    Args:
        folder: The current folder.
        words: The command.
        names: If it fails, the message has one of these.
        environment: Further variables.

    Raises:
        Found: The exit code is not documented, or what was printed has control characters or is no clear message.
    """
    CLOCK.next_step()
    done = typed_here(words, folder, {**ENVIRONMENT, **dict(environment)})
    command, said = " ".join(map(str, words))[:60], done.stderr.strip() or done.stdout.strip()
    if done.returncode not in EXIT_CODES:
        raise Found(f"`{words[0]}` ended with {done.returncode}")
    if done.returncode in (2, 3) and (reason := _odd_message(said)):
        raise Found(f"`{command}`: {reason}")
    if done.returncode in (2, 3) and names and not any(name in said for name in names):
        raise Found(f"`{command}` does not name {names[0]}: {said[-300:]}")
    if CONTROL.search(done.stdout) or CONTROL.search(said):
        raise Found(f"`{command}` prints control characters")
    return done


@st.composite
def mutated(draw, contents):
    """Change some bytes of one of several contents: flip, cut, double, insert, overwrite, end early."""
    data = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        some = draw(st.integers(1, 8))
        kind = draw(st.integers(0, 5))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            del data[at : at + some]
        elif kind == 2:
            data[at:at] = data[at : at + 8 * some]
        elif kind == 3:
            data[at:at] = draw(st.sampled_from(ODD_BYTES))
        elif kind == 4:
            odd = draw(st.sampled_from(ODD_BYTES))
            data[at : at + len(odd)] = odd
        elif at:
            del data[at:]
    return bytes(data)


ODD_BYTES = [
    *(
        b"\0",
        b"\xff" * 4,
        b"\xff\xff\xff\x7f",
        b"\0" * 8,
        b"\n",
        b"\r",
        b"\t",
        b"\x1b[31m",
        b'"',
        b"'",
        b"{",
        b"[" * 40,
    ),
    *("é".encode(), "é".encode("latin-1"), "\u202e".encode(), b"\xed\xa0\x80", b"-1", b"1e999", b"9" * 30, b"nan"),
]


@st.composite
def odd_values(draw, depth=2):
    """Values as JSON and YAML can have them, of any type: extreme, nested, with odd names."""
    if depth and draw(st.integers(0, 5)) == 0:
        inner = odd_values(depth=depth - 1)
        if draw(st.booleans()):
            return draw(st.lists(inner, max_size=3))
        return draw(st.dictionaries(st.sampled_from(ODD_TEXTS), inner, max_size=3))
    return copy.deepcopy(draw(st.sampled_from(ODD_SCALARS)))


ODD_TEXTS = [
    *("", " ", "é漢", "\u202e\u200b", "a\nb", "a\tb", "\x1b[31mred", "../x", "~nobody/x", "/", ".", "$", "[bold]", "0"),
    *("a" * 300, "null", "true", "nan", "1e5", "=1+1", "-", "key.with.dots", '"', "\\", "{}", "%s", "\x85", "\ufeff"),
]
ODD_SCALARS = [
    *(None, True, False, 0, -1, 1, 2, 3, 10, 2**31, 2**63, 2**64, 10**30, -(2**63), 10**400),
    *(0.0, -0.0, 0.5, 1.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None]),
    *ODD_TEXTS,
]


def replaced(data, path, value):
    """Put a value into nested data at a path, if the path still exists."""
    for key in path[:-1]:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict) or (isinstance(data, list) and isinstance(path[-1], int) and path[-1] < len(data)):
        data[path[-1]] = value


def removed(data, path):
    """Remove what is at a path, if it still exists."""
    try:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]
    except (KeyError, IndexError, TypeError):
        return


def places(data, path=()):
    """Return the paths of all values in nested data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def value_at(data, path):
    """Return the value at a path."""
    for key in path:
        data = data[key]
    return data
