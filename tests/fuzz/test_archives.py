"""Archives of any content are restored whole, or refused with a message that names the file; nothing is left behind."""

from __future__ import annotations

import copy
import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from helpers.fuzzing import ODD_TEXTS, Found, corpus, finding, fuzz, mutated, odd_values, places, replaced, typed
from hypothesis import strategies as st

SAMPLE = Path(__file__).parents[1] / "samples" / "grid_of_four"
CASES = corpus("archives")
SOUND = gzip.decompress(CASES["sound.tar.gz"])
TYPES = [
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
    b"S",
    b"?",
]
NAMES = ["../x", "/etc/x", "sample/../../x", "sample/study/claims", "sample", "other/study/sweep.yaml", *ODD_TEXTS]
NUMBERS = [0, -1, 1, 2**33, 2**63, 10**18, 0.5]


def _members():
    with tarfile.open(fileobj=io.BytesIO(SOUND), encoding="utf-8") as tar:
        return [(member, tar.extractfile(member).read() if member.isfile() else b"") for member in tar]


MEMBERS = _members()


@st.composite
def changed(draw):
    """An archive with other members."""
    members = [(copy.copy(member), content) for member, content in MEMBERS]
    for _ in range(draw(st.integers(1, 3))):
        at, kind = draw(st.integers(0, len(members) - 1)), draw(st.integers(0, 8))
        member, content = members[at]
        if kind == 0:
            member.name = draw(st.sampled_from(NAMES))
        elif kind == 1:
            member.type = draw(st.sampled_from(TYPES))
            member.linkname = draw(st.sampled_from([*NAMES, members[0][0].name]))
        elif kind == 2:
            member.mtime = draw(st.sampled_from(NUMBERS))
        elif kind == 3:
            member.mode = draw(st.sampled_from([0, 0o777, 0o7777, 2**20]))
        elif kind == 4:
            member.pax_headers = {
                draw(st.sampled_from(["size", "path", "mtime", "GNU.sparse.map"])): draw(st.sampled_from(NAMES))
            }
        elif kind == 5:
            members.insert(draw(st.integers(0, len(members))), members[at])
        elif kind == 6 and len(members) > 1:
            del members[at]
        else:
            members[at] = (member, _content(draw, content))
    return _packed(members)


def _content(draw, content):
    try:
        data = json.loads(content)
    except ValueError:
        return draw(mutated([content]))
    path = draw(st.sampled_from(places(data)))
    if not path:
        return json.dumps(draw(odd_values())).encode()
    replaced(data, path, draw(odd_values()))
    return json.dumps(data).encode()


def _packed(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for member, content in members:
            member.size = len(content)
            try:
                tar.addfile(member, io.BytesIO(content))
            except (ValueError, OverflowError, TypeError, UnicodeError):
                continue  # there is no such archive
    return gzip.compress(file.getvalue(), 1, mtime=0)


@pytest.fixture
def target(tmp_path):
    """Check and restore an archive."""
    results = tmp_path / "results"

    def examine(content):
        shutil.rmtree(results, ignore_errors=True)
        (tmp_path / "a.tar.gz").write_bytes(content)
        archive = results / "archive" / "a.tar.gz"
        archive.parent.mkdir(parents=True)
        archive.write_bytes(content)
        if (listed := typed(tmp_path, "list", "--archived")).returncode:
            raise Found(f"`list --archived`: {listed.stderr}")
        shutil.rmtree(results)
        checked = typed(tmp_path, "unarchive", "a.tar.gz", "--check", names=["a.tar.gz"])
        done = typed(tmp_path, "unarchive", "a.tar.gz", names=["a.tar.gz", "results"])
        left = sorted(file.name for file in results.iterdir()) if results.exists() else []
        if done.returncode and any(not name.startswith((".filesystem", "sweeps.db")) for name in left):
            raise Found(f"refused, and left {left}")
        if checked.returncode and not done.returncode:
            raise Found("restored from an archive that `--check` refuses")
        if sorted(file.name for file in tmp_path.iterdir() if file.name not in {"results", "a.tar.gz"}):
            raise Found("a file outside the results folder")

    return examine


@pytest.mark.parametrize("case", CASES)
def test_kept_archives(target, case):
    """Archives that once made trouble, and a sound one to begin with."""
    assert finding(target, CASES[case]) is None


def test_archives(target):
    """Any archive is restored or refused."""
    inside = mutated([SOUND]).map(lambda tar: gzip.compress(tar, 1, mtime=0))
    fuzz(
        "archives", target, st.one_of(changed(), changed(), inside, mutated([CASES["sound.tar.gz"]])), few=10, share=0.1
    )
