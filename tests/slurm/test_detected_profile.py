"""A real cluster gets a profile that it takes, and a job finds its nodes as they should be."""

import json

from cnn_sweep.slurm.profile import Profile

SWEEP = """
study: tiny
data: {source: digits}
model: {layers: [flatten, output: softmax]}
training: {epochs: 1}
"""
# Nodes are this machine, whose cores, GPUs and disks are not those that Slurm claims.
EXPECTED_NOTES = {"environment", "gpu", "node gpu", "node cores"}


def test_a_detected_profile_plans_and_its_nodes_are_well(desk, tmp_path):
    """Detected and planned with; then a job compares its node with the login node and leaves nothing."""
    profile = tmp_path / "my.toml"
    desk.type("profile", "detect", "--output", profile)
    found = Profile.load(profile)
    assert (found.partition, found.account, found.time_limit, found.cpus) == ("main", "root", 60, 4)
    planned = json.loads(desk.type("plan", desk.write("tiny.yaml", SWEEP), "--profile", profile, "--json").stdout)
    assert planned["submission"]
    findings = json.loads(desk.type("doctor", "--job", "--profile", profile, "--json").stdout)
    assert {finding["subject"] for finding in findings if finding["level"] != "ok"} <= EXPECTED_NOTES
    assert {"job", "node results", "node locks", "node clock", "node packages", "node tensorflow"} <= {
        finding["subject"] for finding in findings
    }
    assert not desk.results.exists()
