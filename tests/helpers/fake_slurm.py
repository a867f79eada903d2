"""A Slurm cluster of scripts on PATH, which answer as Slurm 22.05 does; a test replaces what is to be ill."""

from __future__ import annotations

import sys

CONFIG = """\
Configuration data as of 2026-11-20T19:31:02
AccountingStorageEnforce = associations,limits,qos
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
JobRequeue              = 1
MaxArraySize            = 1001
MaxJobCount             = 10000
PreemptMode             = OFF
PreemptType             = preempt/none
SchedulerParameters     = bf_continue
SLURM_VERSION           = 22.05.8
TmpFS                   = /tmp

Slurmctld(primary) at head is UP
"""
PARTITION = (
    "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default={default} QoS=N/A"
    " DefaultTime=NONE DisableRootJobs=NO GraceTime=0 Hidden={hidden} MaxNodes=UNLIMITED MaxTime={time} MinNodes=0"
    " MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] PriorityTier=1 RootOnly=NO OverSubscribe=NO PreemptMode=OFF State={state}"
    " TotalCPUs=16 TotalNodes=4 JobDefaults=(null) DefMemPerCPU=100 MaxMemPerNode=UNLIMITED\n"
)
NODES = "main|4|4|8000|(null)|ib|idle|1|0\ngpu|2|64|512000|gpu:a100:4(S:0-1)|ib|mixed|1|900000\n"
USER_HEAD = "User|Def Acct|Cluster|Account|Partition|QOS|Def QOS|MaxJobs|MaxSubmit|MaxWall|MaxTRES|GrpTRES\n"
QOS_HEAD = "Name|Flags|MaxJobsPU|MaxSubmitPU|MaxWall|MaxTRES|MaxTRESPU|GrpJobs|GrpSubmit|GrpTRES\n"
MUNGE = (
    "error: If munged is up, restart with --num-threads=10\n"
    'error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory'
    " (Did you start munged?)\n"
    "error: slurm_send_node_msg: auth_g_create: REQUEST_BUILD_INFO has authentication error\n"
    "slurm_load_ctl_conf error: Protocol authentication error\n"
)
_FAILS = """cat >&2 <<'END'
{words}
END
exit 1"""

# Starts a job at once, on a node that is this machine with the changes of `node.sh`.
_SBATCH = """
for word; do script=$word; done
case "$*" in *--test-only*)
  echo "sbatch: Job 17 to start at 2026-11-20T19:31:09 using 4 processors on nodes n1 in partition main" >&2; exit 0;;
esac
touch "$home/submitted"
/bin/date +%s >"$home/started"
[ -e "$home/waits" ] || ( . "$home/node.sh"; bash "$script" >/dev/null 2>&1; echo $? >"$home/code" )
echo 17
"""
_SQUEUE = """
case "$*" in *--jobs=*) ;; *) exit 0;; esac
[ -e "$home/waits" ] && { echo "17|17|PENDING|$(cat "$home/waits")|0|1|N/A|N/A|0||main|"; exit 0; }
code=$(cat "$home/code"); state=COMPLETED; [ "$code" = 0 ] || state=FAILED
[ -e "$home/state" ] && state=$(cat "$home/state")
echo "17|17|$state|None|0|1|$(cat "$home/started")|N/A|$((code * 256))|n1|main|"
"""
_SRUN = """
while :; do case "$1" in
  --output) out=$2; shift 2;; --error) err=$2; shift 2;; -*) shift;; *) break;;
esac; done
exec "$@" >"$(echo "$out" | sed 's/%j_%t/17_0/')" 2>"$(echo "$err" | sed 's/%j_%t/17_0/')"
"""
_SACCTMGR = """
case "$*" in
  *"show user"*) cat "$home/users";;
  *"show qos"*) cat "$home/qos";;
  *) echo "Account|User|GrpJobs|GrpSubmit|GrpTRES"; echo "lab||||";;
esac
"""


class FakeSlurm:
    """The scripts and what they answer.

    Attributes:
        home: Folder of the answers.
        programs: Folder of the scripts, which is to be on PATH.
        config, partitions, nodes, users, qos: Answers, for :meth:`put`.
    """

    def __init__(self, folder, user):
        self.home, self.programs = folder / "slurm", folder / "bin"
        self.home.mkdir()
        self.programs.mkdir()
        self.config, self.nodes = CONFIG, NODES
        self.partitions = partition("main", default="YES") + partition("gpu")
        self.users = f"{USER_HEAD}{user}|lab|lab|lab||normal||||||\n"
        self.qos = f"{QOS_HEAD}normal|||||||||\n"
        for name, text in (("sbatch", _SBATCH), ("squeue", _SQUEUE), ("srun", _SRUN), ("sacctmgr", _SACCTMGR)):
            self.program(name, text)
        parts = f'case "$*" in *partition*) cat {self.home}/partitions;; *) cat {self.home}/config;; esac'
        self.program("scontrol", parts)
        self.program("sinfo", f"cat {self.home}/nodes")
        self.program("scancel", 'echo "$@" >"$home/cancelled"')
        self.program("sleep", "exit 0")
        self.on_node("")
        self.put()

    def put(self, **answers):
        """Write the answers, some of them changed."""
        for name, text in answers.items():
            setattr(self, name, text)
        for name in ("config", "partitions", "nodes", "users", "qos"):
            (self.home / name).write_text(getattr(self, name), encoding="utf-8")

    def program(self, name, script):
        """Write a program; ``$home`` is the folder of the answers."""
        (self.programs / name).write_text(f"#!/bin/bash\nhome={self.home}\n{script}\n", encoding="utf-8")
        (self.programs / name).chmod(0o755)

    def fails(self, name, words):
        """Let a program fail with some words."""
        self.program(name, _FAILS.format(words=words))

    def on_node(self, script):
        """Set the shell commands that make the node differ; ``$script`` is the job's script, ``$home`` as above."""
        (self.home / "node.sh").write_text(f"{script}\n", encoding="utf-8")

    def tell(self, name, text):
        """Write a file that the programs read: ``waits`` with a reason, or ``state``."""
        (self.home / name).write_text(text, encoding="utf-8")


def partition(name, *, default="NO", hidden="NO", time="01:00:00", state="UP"):
    """Return a line of ``scontrol show partition``."""
    return PARTITION.format(name=name, default=default, hidden=hidden, time=time, state=state)


def other_python(path):
    """Write a Python that says it is of another version."""
    code = (
        "import platform, runpy, sys; platform.python_version = lambda: '3.9.2'; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path
