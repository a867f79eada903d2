# shellcheck shell=bash
# Sourced by the scripts beside it: where the cluster lives, and how to tell, await and stop its daemons.
LAB=${SLURM_LAB:-${TMPDIR:-/tmp}/slurm-dev-cluster}
export SLURM_CONF=$LAB/etc/slurm.conf
exec </dev/null # no daemon may hold the caller's input

say() { printf '[dev-cluster %2ds] %s\n' "$SECONDS" "$*"; }
die() { say "FAILED: $*" >&2; exit 1; }

# One script at a time per cluster; the lock is closed in what the script starts.
take_lock() { # script arguments...
  [ "${DEV_CLUSTER_LOCKED:-}" = "$LAB" ] || DEV_CLUSTER_LOCKED=$LAB exec flock --close "$LAB.lock" "$@"
}

# A process that is this program, and not a zombie: the first process of a container may reap late.
is_running() { # pid program
  [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null
}

pid_in() { # file program -> prints the pid when that program runs under it
  local pid
  [ -s "$1" ] && read -r pid <"$1" && is_running "$pid" "$2" && echo "$pid"
}

daemon_pid() { pid_in "$LAB/pid/$1.pid" "$1"; } # program

until_ok() { # seconds command...: the command is tried every 50 ms until it succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

gone() { ! is_running "$@"; } # pid program

stop_daemon() { # program: SIGTERM, and SIGKILL after 10 s
  local pid
  if pid=$(daemon_pid "$1"); then
    kill -TERM "$pid" || true
    until_ok 10 gone "$pid" "$1" || kill -KILL "$pid"
  fi
  rm -f "$LAB/pid/$1.pid"
}

# The compact state alone tells: --states=idle also lists a node that is idle because it is drained.
ill_nodes() {
  sinfo --noheader --Node --partition=main --format="%N %t" | awk '$2 !~ /^(idle|mix|alloc|comp)$/ { print $1 }'
}

all_up() {
  local ill
  ill=$(ill_nodes) && [ -z "$ill" ]
}
