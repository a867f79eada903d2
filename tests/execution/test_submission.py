"""How a submission changes a profile of its own accord."""

import pytest

from cnn_sweep.execution.array_jobs.submission import _after_out_of_memory
from cnn_sweep.slurm.profile import Profile


@pytest.mark.parametrize(
    ("text", "starved", "changes"),
    [
        ("cpus = 4\nworkers_per_task = 4\n", 0, {}),
        ("cpus = 4\nworkers_per_task = 4\n", 2, {"workers_per_task": 2}),
        ('memory = "1G"\n[retry]\nmemory_factor = 1.5\n', 1, {"memory": 1536}),
        ('memory = "1G"\n[retry]\nmemory_factor = 1.5\nout_of_memory = 0\n', 1, {}),
        ("cpus = 4\nworkers_per_task = 4\n[retry]\nfewer_workers = false\n", 1, {}),
    ],
)
def test_after_deaths_for_memory_each_worker_gets_more(text, starved, changes):
    """As the profile allows: more memory, or half as many workers, or neither."""
    found, words = _after_out_of_memory(Profile.parse(text), starved)
    assert found == changes
    assert all(f"{name} = {value}" in words for name, value in changes.items())
