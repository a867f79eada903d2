#!/usr/bin/env bash
# Stops or starts a daemon of a running cluster, with the configuration that is there: an outage for tests.
#   daemon.sh stop|start slurmctld|slurmdbd
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib.sh"
source "$HERE/daemons.sh"
case "$*" in
  "stop slurmctld" | "stop slurmdbd") stop_daemon "$2" ;;
  "start slurmctld" | "start slurmdbd") "start_$2" ;;
  *) sed -n '3s/^# *//p' "$0" >&2; exit 2 ;;
esac
