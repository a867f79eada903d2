"""What sacct tells of the use of jobs, as numbers."""

from cnn_sweep.slurm.job_usage import read_usage

# Slurm 22.05's own, but for the GPUs and the energy of the first job: the dev cluster has neither.
ROWS = """\
lab|45915737_0|45915738|COMPLETED|1795914908|1795914908|1795914918|202|2|00:42.475||||billing=4,cpu=2,gres/gpu=2,mem=4G,node=1|10
lab|45915738.batch|45915738.batch|COMPLETED|1795914918|1795914918|1795914918|202|2|00:00.010|5052K|cpu=00:00:00,energy=0,mem=5052K,vmem=0|0|cpu=2,mem=4G,node=1|
lab|45915738.0|45915738.0|COMPLETED|1795914919|1795914919|1795914919|201|2|00:42.464|1380324K|cpu=00:00:42,gres/gpuutil=60|7200000|cpu=2|
lab|45915737_1|45915739|CANCELLED by 0|1795914908|1795914908|1795914908|7200|2|00:00:00||||billing=2,mem=4G|UNLIMITED
lab|45915739.0|45915739.0|CANCELLED|1795914908|1795914908|1795914908|7200|2|00:00:00|900K|cpu=1-02:03:04|18446744073709551614|cpu=2|
lab|45915737_[2-3]|45915737|PENDING|1795914908|1795914908|Unknown|0|2|00:00:00||||billing=2,cpu=2,mem=4G,node=1|10
lab|45915801|45915801|PENDING|1795914908|Unknown|Unknown|0|2|00:00:00|||||10
something else
"""


def test_an_incarnation_has_the_measurements_of_its_steps():
    """Peak and GPUs come from the steps, the mean of GPUs per GPU; energy counts once."""
    finished = read_usage(ROWS)[0]
    assert (finished.jobs, finished.raw_id, finished.state) == (("45915737_0",), 45915738, "COMPLETED")
    assert (finished.wait_s, finished.elapsed_s, finished.cpus, finished.cpu_s) == (10, 202, 2, 42.475)
    assert (finished.memory_mb, finished.peak_mb, finished.limit_min, finished.billing) == (4096, 1348, 10, 4)
    assert (finished.gpus, finished.gpu_percent, finished.energy_j) == (2, 30.0, 7_200_000)


def test_what_slurm_does_not_know_is_not_invented():
    """Processor time of killed processes comes from samples; unmeasured energy is none; a waiting job has no wait."""
    _, killed, waiting = read_usage(ROWS)
    assert killed.cpu_s == ((26 * 60) + 3) * 60 + 4
    assert (killed.state, killed.energy_j, killed.gpu_percent, killed.limit_min) == ("CANCELLED", 0, None, None)
    assert (waiting.jobs, waiting.wait_s, waiting.memory_mb) == (("45915801",), None, 0)
