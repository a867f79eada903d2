import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_sweep.slurm import job_rows, units
from cnn_sweep.slurm.units import gres, limit_count, limit_minutes, memory_mb, minutes, resources


@pytest.mark.parametrize("module", [units, job_rows], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module):
    """What the docstrings show is what the functions return."""
    assert doctest.testmod(module).failed == 0


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59))
def test_each_notation_of_a_time_means_the_same(days, hours, mins):
    """Slurm writes and takes a time in several ways; all are read as the same number of minutes."""
    total = days * 1440 + hours * 60 + mins
    assert minutes(str(total)) == total
    assert minutes(f"{days}-{hours:02}:{mins:02}:00") == total
    assert minutes(f"{days}-{hours}:{mins}") == total
    assert minutes(f"{days * 24 + hours}:{mins:02}:00") == total
    assert minutes(f"{total}:00") == total


def test_seconds_are_rounded_up():
    """A limit of part of a minute is a limit of that minute."""
    assert [minutes(text) for text in ("0:01", "1:30", "00:00:59", "1-0:0:1")] == [1, 2, 1, 1441]


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "1-", "-5", "1.5"])
def test_what_is_no_time_is_refused(text):
    """A text in no notation of Slurm's is an error that shows one."""
    with pytest.raises(ValueError, match="hours:minutes:seconds"):
        minutes(text)


@pytest.mark.parametrize("text", ["UNLIMITED", "INFINITE", "", "(null)", "N/A", "-1"])
def test_no_limit_is_none(text):
    """However Slurm writes that there is no limit, it is None."""
    assert limit_minutes(text) is None
    assert limit_count(text) is None


@pytest.mark.parametrize(
    ("text", "mb"), [("200M", 200), ("1", 1), ("1K", 1), ("2Gn", 2048), ("4Gc", 4096), ("392152K", 383), ("1TB", 2**20)]
)
def test_memory_is_read_as_profiles_and_sacct_write_it(text, mb):
    """Amounts are rounded up to MB; sacct's marks for "per node" and "per CPU" are left out."""
    assert memory_mb(text) == mb


def test_resources_without_a_limit_are_left_out():
    """A resource that may be used without end has no number."""
    assert resources("cpu=8,gres/gpu:a100=2,mem=1T,node=-1,") == {"cpu": 8, "gres/gpu:a100": 2, "mem": 2**20}
    assert resources("") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(null)", {}),
        ("", {}),
        ("gpu:toy:2", {"gpu:toy": 2}),
        ("gpu:2(IDX:0-1)", {"gpu": 2}),
        ("gpu:a100:4(S:0-1),gpu:v100:2(S:2,3),craynetwork:4", {"gpu:a100": 4, "gpu:v100": 2, "craynetwork": 4}),
        ("gpu:a100:1,gpu:a100:1", {"gpu:a100": 2}),
        ("gres:gpu:1", {"gpu": 1}),
        ("gres/gpu:1", {"gpu": 1}),
    ],
)
def test_generic_resources_are_counted_by_name_and_type(text, found):
    """Sockets and indices, as sinfo adds them, do not count."""
    assert gres(text) == found
