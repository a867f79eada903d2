"""Settings of a profile that follow from where the program runs: its Python, loaded modules and scratch folders."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnn_sweep.journal.filesystem import judge_mount, mount_of
from cnn_sweep.slurm.detection.settings import Setting, comment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cnn_sweep.slurm.cluster import Cluster

# Where sites tell users of folders with space; the first ones are usually shared by all nodes.
_SCRATCH: Final = ("SCRATCH", "WORK", "WORKDIR", "PSCRATCH", "SCRATCHDIR", "GLOBALSCRATCH", "PROJECT")


def machine_settings(cluster: Cluster, environment: Mapping[str, str] | None = None) -> list[list[Setting]]:
    """Return groups of settings: the Python of the nodes, and comments on scratch folders.

    Args:
        cluster: The cluster, for the nodes' own scratch folder.
        environment: Environment variables; by default those of this process.
    """
    variables = os.environ if environment is None else environment
    return [list(_python(variables)), list(_scratch(cluster, variables))]


def _python(variables: Mapping[str, str]) -> Iterator[Setting]:
    """Yield the modules and the Python of this process, which nodes are to use."""
    modules = variables.get("LOADEDMODULES", "").strip(":").replace(":", " ")
    if modules:
        reason = "the modules that are loaded now; a node may begin without them"
        yield Setting("setup", (f"module load {modules}",), reason)
    prefix = Path(sys.prefix)
    if conda := variables.get("CONDA_PREFIX", ""):
        name = variables.get("CONDA_DEFAULT_ENV", Path(conda).name)
        kind = f"conda environment {name}" if prefix == Path(conda) else "the Python that runs this program"
    elif sys.prefix != sys.base_prefix:
        kind = "this virtual environment"
    else:
        kind = "the Python that runs this program"
    yield Setting("python", shlex.quote(sys.executable), f"{kind}{_visibility(prefix)}")


def _visibility(folder: Path) -> str:
    """Return whether nodes probably see a folder, as words that go on."""
    mount = mount_of(folder)
    if judge_mount(mount).reason.endswith("local to this machine"):
        whose = f"{mount.point} ({mount.fstype}) may be this machine's alone"
        return f"; {whose}, and `cnn-sweep doctor --job` finds out if nodes see it"
    return f", on {mount.point} ({mount.fstype})"


def _scratch(cluster: Cluster, variables: Mapping[str, str]) -> Iterator[Setting]:
    """Yield comments on where results and temporary files may go."""
    for name in _SCRATCH:
        folder = variables.get(name, "")
        if folder.startswith("/") and (words := _space(Path(folder))):
            yield comment(f"${name} is {folder} ({words}); for results: `export CNN_SWEEP_RESULTS=${name}/results`")
    local = max((kind.scratch_mb for part in cluster.partitions.values() for kind in part.nodes), default=0)
    if local:
        yield comment(f"nodes have up to {local / 1024:.0f} GB of their own at {cluster.scratch} for temporary files")
    elif temporary := variables.get("TMPDIR"):
        yield comment(f"TMPDIR is {temporary}; jobs begin with the same value unless Slurm or `setup` sets another")


def _space(folder: Path) -> str | None:
    """Return type and free space of a folder's file system; None if there is no such folder."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return f"{mount_of(folder).fstype}, {free / 1e9:.0f} GB free"
