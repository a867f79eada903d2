#!/usr/bin/env bash
# Brings up a private Slurm on this host, as root: munged, mariadbd, slurmdbd, slurmctld and a slurmd for each node.
# What runs already is left alone; a running cluster with other settings (README.md) is restarted with the new ones.
set -euo pipefail
umask 022
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/lib.sh"
source "$HERE/install.sh"
source "$HERE/daemons.sh"
source "$HERE/users.sh"

[ "$(id -u)" = 0 ] || die "this needs root: nodes are namespaces, and packages are installed"
unshare -umpf --mount-proc true 2>/dev/null || die "this host refuses new namespaces (in a container: add SYS_ADMIN)"
take_lock "$0" "$@"

source "$HERE/config.sh"
install_packages
[ "${SLURM_FRESH:-0}" != 1 ] || SLURM_WIPE=1 "$HERE/down.sh" >/dev/null

mkdir -p "$LAB"/{etc,etc.new,log,pid,munge,mysql,state/ctld}
echo "made by up.sh; down.sh removes only folders with this file" >"$LAB/.dev-cluster"
[ -s "$LAB/first_job_id" ] || echo $((EPOCHSECONDS % 50000000 + 1000)) >"$LAB/first_job_id"
rm -f "$LAB"/etc.new/*
write_config "$LAB/etc.new"
if [ -s "$LAB/etc/slurm.conf" ] && ! diff -q "$LAB/etc/slurm.conf" "$LAB/etc.new/slurm.conf" >/dev/null; then
  say "the configuration changed: restarting"
  "$HERE/down.sh" >/dev/null
fi
rm -f "$LAB/etc/cgroup.conf"
mv "$LAB"/etc.new/* "$LAB/etc/"
rmdir "$LAB/etc.new"
printf 'export SLURM_CONF=%q SLURM_LAB=%q\n' "$SLURM_CONF" "$LAB" >"$LAB/env.sh"

start_munged
if has_accounting; then
  start_mariadbd
  start_slurmdbd
fi
start_slurmctld
# shellcheck disable=SC2086 # names, separated by spaces
add_users ${SLURM_USERS:-}

starters=()
for n in $(seq "$NODES"); do
  "$HERE/node.sh" start "n$n" &
  starters+=($!)
done
for starter in "${starters[@]}"; do wait "$starter" || die "a node did not start: see $LAB/log"; done

until_ok 10 all_up || "$HERE/heal.sh"
say "$NODES nodes are up; clients need: . $LAB/env.sh"
