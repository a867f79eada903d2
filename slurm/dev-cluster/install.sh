# shellcheck shell=bash
# Sourced by up.sh: installs the Debian packages that are missing (18 with what they need, 12 MB to download).
POLICY=/usr/sbin/policy-rc.d
PACKAGES=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core acl)

install_packages() {
  local package missing=()
  for package in "${PACKAGES[@]}"; do
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not installed, and no apt-get to install them with: ${missing[*]}"
  say "installing ${missing[*]}"
  mkdir -p "$LAB"
  if [ ! -e "$POLICY" ]; then # packages must not start daemons of their own
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    trap 'rm -f "$POLICY"' EXIT
  fi
  apt_install "${missing[@]}" || { apt_get update && apt_install "${missing[@]}"; } ||
    { tail -n 20 "$LAB/apt.log"; die "apt-get could not install ${missing[*]}"; }
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$LAB/apt.log" 2>&1; }
apt_install() { apt_get install --yes --no-install-recommends "$@"; }
