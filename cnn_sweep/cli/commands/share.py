"""``share``: shares a results folder with a group of users, or ends that."""

from __future__ import annotations

import grp
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results
from cnn_sweep.cli.ui.terminal import print_words, warn
from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.journal.identity import user_name
from cnn_sweep.journal.sharing import Changed, declare, now_shared, sharing_of, withdraw
from cnn_sweep.messages import few, listed, near, plural

if TYPE_CHECKING:
    from cnn_sweep.journal.sharing import Sharing


def share(
    folder: Annotated[
        Path | None, typer.Argument(metavar="RESULTS", help="Results folder.", show_default="that of --results")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Group to share it with; you must be a member.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", "--undo", help="Let only the owner of each file use it.")
    ] = False,
    results: Results = RESULTS,
) -> None:
    """Share a results folder with a group, whose members then submit, resume and read studies there.

    All that is created there later is the group's, whatever the umask of whoever creates it. Members run each other's
    code, so share only with people whom you trust with your account. Without options, show who shares it.

    Examples:
      cnn-sweep share --group ecology
      cnn-sweep share /project/ecology/sweeps --group ecology
      cnn-sweep share /project/ecology/sweeps --private
    """
    place = results if folder is None else folder
    if private and group is not None:
        raise InputError("--private cannot be combined with --group")
    if private:
        _end(place)
    elif group is None:
        print_words(f"{place} {_state(sharing_of(_existing(place)))}")
    else:
        _begin(place, group)


def _existing(place: Path) -> Path:
    if not place.is_dir():
        raise InputError(f"{place} is not a folder; `cnn-sweep share {place} --group GROUP` creates it")
    return place


def _state(sharing: Sharing | None) -> str:
    if sharing is None:
        return "is not shared by declaration; --group GROUP shares it"
    since = time.strftime("%Y-%m-%d", time.localtime(sharing.time))
    return f"is shared with the group {sharing.group} by {sharing.by} since {since}"


def _begin(place: Path, name: str) -> None:
    gid = _gid(name)
    if not place.exists():
        place.mkdir(mode=0o700, parents=True)
    before = sharing_of(_existing(place))
    if before is None or before.gid != gid:
        _check_owner(place)
    changed = declare(place, now_shared(name, gid, user_name()))
    print_words(f"{place} is shared with the group {name}: {plural(changed.files, 'file')} changed")
    if not changed.keeps_names:
        warn(
            "file locks are unreliable here, so members could rename or remove each other's studies with other "
            "programs; this program refuses to"
        )
    if not changed.acls:
        warn(
            "this file system keeps no default ACLs: files that other programs create here have the mode that "
            "their user's umask gives"
        )
    _tell_what_is_left(changed, f"cnn-sweep share {place} --group {name}")


def _end(place: Path) -> None:
    _check_owner(_existing(place))
    changed = withdraw(place)
    print_words(f"{place} is private: only the owner of each file may use it; {plural(changed.files, 'file')} changed")
    _tell_what_is_left(changed, f"chmod -R go= {place}")


def _gid(name: str) -> int:
    """Return the number of a group that the user belongs to.

    Raises:
        InputError: There is no such group, or the user is no member.
    """
    own = sorted({_group_name(gid) for gid in (os.getegid(), *os.getgroups())})
    try:
        gid = grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise InputError(f"--group {name!r}: there is no such group{near(name, own)}; yours: {listed(own)}") from None
    if gid not in {os.getegid(), *os.getgroups()} and os.geteuid() != 0:
        raise InputError(f"--group {name!r}: you are no member of it; your groups: {listed(own)}")
    return gid


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _check_owner(place: Path) -> None:
    owner = place.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise StudyError(f"{place} belongs to {user_name(owner)}, who alone can share it or end that")


def _tell_what_is_left(changed: Changed, command: str) -> None:
    """Say whose files were left as they are, because only their owners can change them."""
    for owner, count in sorted(changed.left.items()):
        name = user_name(owner)
        warn(f"{plural(count, 'file')} of {few([name])} not changed; `{command}`, typed by {name}, does so")
