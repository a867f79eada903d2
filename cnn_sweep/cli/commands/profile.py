"""``profile detect`` and ``profile check``: write a profile for this cluster, or check one."""

from __future__ import annotations

import grp
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.files import check_folder, create_text
from cnn_sweep.cli.ui.help import register
from cnn_sweep.cli.ui.terminal import warn
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, InputError, SweepFileError
from cnn_sweep.messages import listed
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.detection.partitions import Wanted, accounts_of
from cnn_sweep.slurm.detection.profile import detected_profile
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.slurm.remedies import reachable_cluster
from cnn_sweep.tools.login_environment import machine_settings
from cnn_sweep.tools.submission_check import expected_start, problems_on

if TYPE_CHECKING:
    from cnn_sweep.slurm.cluster import Cluster

app = typer.Typer(help="Write a profile for this cluster, or check one.", no_args_is_help=True)


def detect(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.toml", help="File to write.", show_default="standard output"),
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Partition to use.", show_default="the cluster's default")
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Write a profile for nodes with GPUs.")] = False,
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="Account to charge.", show_default="your default")
    ] = None,
) -> None:
    """Read the cluster's partitions, limits, GPUs and accounts from Slurm, and write a profile with reasons.

    Run it on a login node. Nothing is submitted; `sbatch --test-only` checks the result.

    Examples:
      cnn-sweep profile detect
      cnn-sweep profile detect --gpu --output gpu.toml
    """
    if output is not None:
        check_folder(output)
        _check_new(output)
    cluster = reachable_cluster(SlurmCli())
    groups = frozenset(_group_names())
    wanted = Wanted(partition, gpu, account or _ask_account(cluster), groups)
    text = detected_profile(cluster, wanted, machine=machine_settings(cluster))
    profile = Profile.parse(text, source=str(output or "the detected profile"))
    refused = _refused(profile, cluster)
    if output is None:
        print(text, end="")
    else:
        create_text(output, text)
        warn(f"wrote {output}; next: `cnn-sweep doctor --job --profile {output}`")
    if refused is not None:
        raise EnvironmentFault(f"Slurm would not take this profile yet; change the line named:\n{refused}")


def check(
    file: Annotated[Path, typer.Argument(metavar="PROFILE.toml", help="Profile to check.", show_default=False)],
) -> None:
    """Check a profile: its keys and values, the cluster's limits, and `sbatch --test-only`; nothing is submitted.

    Examples:
      cnn-sweep profile check my.toml
    """
    profile = Profile.load(file)
    cluster = reachable_cluster(SlurmCli())
    if problems := problems_on(cluster, profile):
        raise SweepFileError(profile.source, problems)
    print(f"{file}: cluster {cluster.name} takes it; a task {expected_start(profile, SlurmCli())}")


def _check_new(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise InputError(f"--output: {file} exists and is not overwritten; choose another name, or remove it")


def _group_names() -> list[str]:
    """Return the names of this user's Unix groups; those without a name are left out."""
    names = []
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return names


def _ask_account(cluster: Cluster) -> str | None:
    """Ask which account to charge if there are several and a person can answer; None takes the default one."""
    accounts = accounts_of(cluster)
    if len(accounts) < 2 or not _person_answers():
        return None
    default = cluster.default_account if cluster.default_account in accounts else accounts[0]
    while True:
        # Not input(): it writes the prompt to standard output, which may be the profile.
        print(f"Account to charge ({listed(accounts)}) [{default}]: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip() or default
        if answer in accounts:
            return answer
        warn(f"{answer!r} is not one of them")


def _person_answers() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _refused(profile: Profile, cluster: Cluster) -> CnnSweepError | None:
    """Return why Slurm would refuse a profile; None if it would not. When a task would start goes to the terminal."""
    if problems := problems_on(cluster, profile):
        return SweepFileError(profile.source, problems)
    try:
        warn(f"sbatch --test-only: {expected_start(profile, SlurmCli())}")
    except CnnSweepError as error:
        return error
    return None


for command in (detect, check):
    register(app, command)
