#!/usr/bin/env bash
# One virtual node. A node is a UTS + mount + PID namespace of its own, so its host name is its own and it dies at once.
#   node.sh start nX        start it; if it is frozen, thaw it; else nothing happens
#   node.sh stop nX         stop slurmd in order, then everything on the node
#   node.sh crash nX        kill everything on the node at once, as a power cut does
#   node.sh kill-slurmd nX  kill slurmd alone: jobs go on, and run twice when Slurm requeues them
#   node.sh freeze nX       stop slurmd from answering, as a network partition does; jobs go on
#   node.sh thaw nX         let it answer again
#   node.sh exec nX CMD...  run a command on the node
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib.sh"

usage() { sed -n '3,9s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
NODE=$2
SLURMD=$LAB/pid/slurmd.$NODE.pid
INNER=$LAB/pid/inner.$NODE.pid
INIT=$LAB/pid/init.$NODE.pid
LOG=$LAB/log/slurmd.$NODE.out

slurmd_pid() { pid_in "$SLURMD" slurmd; }
init_pid() { pid_in "$INIT" bash; }
on_node() { nsenter --target "$(init_pid)" --uts --mount --pid "$@"; }

start_init() {
  rm -f "$INIT.ready"
  # The first process of the node reaps orphans for ever. /etc/hosts is the node's own: it knows all nodes.
  # shellcheck disable=SC2016 # expanded by the inner bash
  setsid unshare --uts --mount --pid --fork --propagation slave --mount-proc --kill-child bash -c '
    hostname "$1" && mount --bind "$2/etc/hosts" /etc/hosts && touch "$3" || exit 1
    trap : TERM HUP INT
    while :; do sleep 3600 & wait $!; done' "init-$NODE" "$NODE" "$LAB" "$INIT.ready" >>"$LOG" 2>&1 &
  until_ok 10 test -e "$INIT.ready" || die "the namespaces of $NODE did not start: see $LOG"
  pgrep --parent $! --exact bash >"$INIT"
  rm -f "$INIT.ready"
}

# slurmd writes its pid within its own namespace once it is its own master; here that pid is another one. Of the node's
# processes with its name, the others are those that it passes through as it goes into the background.
find_slurmd() {
  local inner pid
  read -r inner <"$INNER" || return 1
  for pid in $(pgrep --parent "$(init_pid)" --exact slurmd); do
    if grep -qE "^NSpid:.*[[:space:]]$inner\$" "/proc/$pid/status"; then
      echo "$pid" >"$SLURMD"
      return
    fi
  done
  return 1
}

start() {
  local pid
  if pid=$(slurmd_pid); then
    kill -CONT "$pid"
    return
  fi
  mkdir -p "$LAB/state/spool.$NODE"
  rm -f "$SLURMD" "$INNER"
  init_pid >/dev/null || start_init
  on_node slurmd -N "$NODE" >>"$LOG" 2>&1 || { tail -n 20 "$LOG"; die "slurmd of $NODE did not start"; }
  until_ok 5 find_slurmd || die "slurmd of $NODE ended at once: see $LAB/log/slurmd.$NODE.log"
}

crash() {
  local pid
  if pid=$(init_pid); then
    kill -KILL "$pid"
    until_ok 5 gone "$pid" bash
  fi
  rm -f "$INIT" "$SLURMD"
}

stop() {
  local pid
  if pid=$(slurmd_pid); then
    kill -CONT "$pid" # it may be frozen
    kill -TERM "$pid" || true
    until_ok 10 gone "$pid" slurmd || true
  fi
  crash
}

signal_slurmd() { kill -"$1" "$(slurmd_pid)" || die "slurmd of $NODE does not run"; }

case $1 in
  start | stop | crash) "$1" ;;
  kill-slurmd) signal_slurmd KILL && rm -f "$SLURMD" ;;
  freeze) signal_slurmd STOP ;;
  thaw) signal_slurmd CONT ;;
  exec) init_pid >/dev/null || die "$NODE does not run"; shift 2; on_node "$@" ;;
  *) usage ;;
esac
