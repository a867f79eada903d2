"""Studies of people who are not root, on a cluster that shows everybody only their own jobs."""

import json
import pwd
import shutil
import stat

SWEEP = """
study: mine
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: 2, kernel_size: 3, activation: relu}
    - flatten
    - output: softmax
space:
  rate: {low: 1.0e-4, high: 1.0e-1, log: true}
search: {method: random, trials: 300, seed: 3}
training:
  epochs: 10
  batch_size: 128
  optimizer: {name: adam, learning_rate: $rate}
"""
PROFILE = 'time_limit = 10\nmemory = "1500M"\nthreads = 1\narray_width = 2\n'


def test_an_ordinary_user_takes_a_study_from_submit_to_the_leaderboard(desk_of):
    """Without root's rights and with PrivateData, all commands of a study's life work, and others are kept out.

    Somebody else who may read the folder does not see the jobs, and is told so rather than that nothing runs.
    """
    alice, bob = desk_of("alice"), desk_of("bob")
    alice.results.mkdir()
    shutil.chown(alice.results, "alice", pwd.getpwnam("alice").pw_gid)
    alice.results.chmod(0o2755)  # shared with others by declaration
    sweep, profile = alice.write("mine.yaml", SWEEP), alice.write("profile.toml", PROFILE)
    (job,) = alice.submit(sweep, profile)
    alice.wait_until_complete("mine", 1, 120)
    alice.cluster.until(lambda: alice.status("mine")["workers"]["alive"] == 2, 60, "both workers")
    assert alice.status("mine")["jobs"][0]["job"] == job

    theirs = ("--results", alice.results)
    seen = json.loads(bob.type("status", "mine", "--json", *theirs).stdout)
    assert (seen["workers"], seen["jobs"]) == ({"alive": 0, "unknown": 2}, [])
    assert "jobs of other users are not shown to you" in seen["faults"][0]
    (alice.results / "mine").chmod(stat.S_IRWXU)
    refused = bob.type("status", "mine", *theirs, code=2).stderr
    assert "belongs to alice, who can let you in with `chmod -R go+rX" in refused

    alice.type("cancel", "mine")
    alice.cluster.until(lambda: not alice.status("mine")["jobs"], 60, "the end of the jobs")
    before = alice.journaled("mine", b'"state":"complete"')
    alice.resume("mine", profile)
    alice.wait_until_complete("mine", before + 1, 120)
    alice.type("cancel", "mine")
    assert "rate=" in alice.type("logs", "mine", "0").stdout
    assert alice.board("mine")[0]["state"] == "complete"
    assert {path.owner() for path in alice.results.rglob("*")} == {"alice"}
