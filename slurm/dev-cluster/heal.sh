#!/usr/bin/env bash
# Brings back the nodes that take no jobs: dead, frozen or drained, by whatever was done to them before.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib.sh"

resumed() {
  local node
  for node in $(ill_nodes); do scontrol update nodename="$node" state=resume || true; done
  all_up
}

for node in $(ill_nodes); do "$HERE/node.sh" stop "$node"; done
# All of them: Slurm needs some seconds to notice that one has died or fallen silent.
for spool in "$LAB"/state/spool.*; do "$HERE/node.sh" start "${spool##*/spool.}"; done
until_ok 60 resumed || { sinfo --Node --long; sinfo --list-reasons; die "not all nodes are up"; }
