#!/usr/bin/env bash
# Cancels all jobs of the cluster and stops its daemons, by their pid files. SLURM_WIPE=1 removes the state, too.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib.sh"
source "$HERE/users.sh"
[ -e "$LAB/.dev-cluster" ] || { say "nothing at $LAB"; exit 0; }
take_lock "$0" "$@"

! daemon_pid slurmctld >/dev/null || timeout 10 sh -c 'squeue --all --noheader --format=%A | xargs --no-run-if-empty scancel' || true
for spool in "$LAB"/state/spool.*; do
  [ ! -d "$spool" ] || "$HERE/node.sh" stop "${spool##*/spool.}" &
done
wait
for daemon in slurmctld slurmdbd mariadbd munged; do stop_daemon $daemon; done
# What SLURM_CGROUP=1 left behind; rmdir removes empty ones only.
find /sys/fs/cgroup/*/slurm_n[0-9]* -depth -type d -exec rmdir {} + 2>/dev/null || true
if [ "${SLURM_WIPE:-0}" = 1 ]; then
  remove_users
  rm -rf "$LAB"
fi
say "down"
