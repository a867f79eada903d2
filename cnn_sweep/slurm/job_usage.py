"""What jobs asked for and used, according to sacct: processor time, memory, GPUs, energy and time in the queue."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cnn_sweep.slurm.job_rows import megabytes, names
from cnn_sweep.slurm.units import resources

USAGE_FORMAT = (
    "Cluster,JobID,JobIDRaw,State,Submit,Eligible,Start,ElapsedRaw,NCPUS,TotalCPU,MaxRSS,TRESUsageInTot,"
    "ConsumedEnergyRaw,AllocTRES,TimelimitRaw"
)
_COLUMNS = USAGE_FORMAT.count(",") + 1
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d+)?)")
_UNKNOWN_ENERGY = 2**63  # sacct writes 18446744073709551614 (NO_VAL64) where no energy is measured


@dataclass(frozen=True)
class JobUsage:
    """What one incarnation of a job asked for and used; a requeue starts another one.

    Attributes:
        cluster: The cluster's name.
        jobs: Names such as ``123`` or ``123_4``.
        raw_id: The job's own ID, also for an array element.
        state: First word of sacct's state.
        submitted: Time of submission or requeue, in seconds since 1970; None if unknown.
        wait_s: Seconds in the queue; None if it has not started.
        elapsed_s: Seconds that it ran, until now if it runs.
        cpus: Allocated CPUs.
        cpu_s: Processor time of all its processes, in seconds; 0 while its step runs.
        memory_mb: Allocated memory, in MB; 0 if unknown.
        peak_mb: Most memory in use at once, in MB, as Slurm's samples saw it; 0 if unknown.
        gpus: Allocated GPUs.
        gpu_percent: Mean utilization of a GPU; None where Slurm does not account it.
        energy_j: Energy of its nodes, in joules; 0 where Slurm does not measure it.
        billing: Billing units per hour.
        limit_min: Its time limit, in minutes; None if unlimited.
    """

    cluster: str
    jobs: tuple[str, ...]
    raw_id: int
    state: str
    submitted: int | None
    wait_s: int | None
    elapsed_s: int
    cpus: int
    cpu_s: float
    memory_mb: int
    gpus: int
    billing: int
    limit_min: int | None
    peak_mb: int = 0
    gpu_percent: float | None = None
    energy_j: int = 0


def read_usage(text: str) -> list[JobUsage]:
    """Read ``sacct --format=USAGE_FORMAT``, in which the steps of each incarnation follow it.

    Arrays whose elements wait, and lines in another form, are ignored.
    """
    found: list[JobUsage] = []
    for line in text.splitlines():
        values = line.split("|")
        if len(values) < _COLUMNS:
            continue
        if "." in values[1]:
            if found and values[2].partition(".")[0] == str(found[-1].raw_id):
                found[-1] = _with_step(found[-1], values)
        elif len(jobs := names(values[1])) == 1 and values[2].isdigit():
            found.append(_allocation(jobs, values))
    return found


def _allocation(jobs: tuple[str, ...], values: list[str]) -> JobUsage:
    allocated = resources(values[13])
    submitted, eligible, started = (_number(value) for value in values[4:7])
    return JobUsage(
        cluster=values[0],
        jobs=jobs,
        raw_id=int(values[2]),
        state=values[3].split(" ")[0],  # "CANCELLED by 1000"
        submitted=submitted,
        wait_s=None if started is None or (eligible or submitted) is None else started - (eligible or submitted or 0),
        elapsed_s=_number(values[7]) or 0,
        cpus=_number(values[8]) or 0,
        cpu_s=_seconds(values[9]),
        memory_mb=allocated.get("mem", 0),
        gpus=allocated.get("gres/gpu", 0),
        billing=allocated.get("billing", 0),
        limit_min=_number(values[14]),
        energy_j=_energy(values[12]),
    )


def _with_step(job: JobUsage, values: list[str]) -> JobUsage:
    """Return a job with the measurements of one of its steps."""
    used = dict(part.split("=", 1) for part in values[11].split(",") if "=" in part)
    percent = _number(used.get("gres/gpuutil", ""))
    return replace(
        job,
        # The total of a job leaves out processes that were killed, which the samples of the step saw.
        cpu_s=max(job.cpu_s, _seconds(used.get("cpu", ""))),
        peak_mb=max(job.peak_mb, megabytes(values[10])),
        gpu_percent=job.gpu_percent if percent is None else max(job.gpu_percent or 0.0, percent / max(1, job.gpus)),
        energy_j=max(job.energy_j, _energy(values[12])),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _energy(text: str) -> int:
    joules = _number(text) or 0
    return 0 if joules >= _UNKNOWN_ENERGY else joules


def _seconds(text: str) -> float:
    """Read a duration such as ``01:02.345``, ``03:04:05`` or ``1-02:03:04``, in seconds."""
    match = _TIME.fullmatch(text)
    if match is None:
        return 0.0
    days, hours, minutes = (int(match[name] or 0) for name in ("days", "hours", "minutes"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + float(match["seconds"])
