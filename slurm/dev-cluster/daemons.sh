# shellcheck shell=bash
# Sourced by up.sh and daemon.sh: starts each daemon that does not run yet, and waits until it answers.
# What they need to know they read from the configuration, so that they start the cluster that is there.
setting() { sed -n "s/^$1=//p" "$LAB/etc/$2" | head -n 1; } # key file

start_munged() {
  daemon_pid munged >/dev/null && return
  local socket
  socket=$(setting AuthInfo slurm.conf)
  socket=${socket#socket=}
  socket=${socket%%,*}
  [ -s "$LAB/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$LAB/munge.key")
  rm -f "$socket" "$socket.lock"
  munged --key-file="$LAB/munge.key" --socket="$socket" --pid-file="$LAB/pid/munged.pid" \
    --log-file="$LAB/log/munged.log" --seed-file="$LAB/munge.seed" --num-threads=2 >>"$LAB/log/munged.out" 2>&1 ||
    { cat "$LAB/log/munged.out"; die "munged did not start"; }
  until_ok 10 munge --no-input --socket="$socket" || die "munged does not answer"
}

start_mariadbd() {
  local port
  port=$(setting StoragePort slurmdbd.conf)
  if ! daemon_pid mariadbd >/dev/null; then
    [ -d "$LAB/mysql/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$LAB/mysql" \
      --skip-test-db --auth-root-authentication-method=normal --skip-name-resolve >"$LAB/log/mariadb-install.log" 2>&1 ||
      { tail -n 20 "$LAB/log/mariadb-install.log"; die "mariadb-install-db"; }
    cat <<SQL >"$LAB/etc/init.sql"
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
SQL
    # A throw-away database on one host: durability is traded for speed and for a small footprint.
    setsid mariadbd --no-defaults --user=root --datadir="$LAB/mysql" --bind-address=127.0.0.1 --port="$port" \
      --socket="$LAB/mysql/socket" --pid-file="$LAB/pid/mariadbd.pid" --log-error="$LAB/log/mariadbd.log" \
      --init-file="$LAB/etc/init.sql" --skip-name-resolve --skip-log-bin --performance-schema=OFF \
      --innodb-buffer-pool-size=64M --innodb-log-file-size=32M --innodb-flush-log-at-trx-commit=0 \
      --innodb-doublewrite=0 --innodb-lock-wait-timeout=900 --max-allowed-packet=16M --key-buffer-size=1M \
      --max-connections=40 --table-open-cache=200 >>"$LAB/log/mariadbd.out" 2>&1 &
  fi
  until_ok 40 mariadb --no-defaults --host=127.0.0.1 --port="$port" --user=slurm --password=slurm \
    --execute='select 1' slurm_acct_db || { tail -n 20 "$LAB/log/mariadbd.log"; die "mariadbd does not answer"; }
}

start_slurmdbd() {
  if ! daemon_pid slurmdbd >/dev/null; then
    rm -f "$LAB/pid/slurmdbd.pid"
    slurmdbd >>"$LAB/log/slurmdbd.out" 2>&1 || { cat "$LAB/log/slurmdbd.out"; die "slurmdbd did not start"; }
  fi
  until_ok 60 timeout 5 sacctmgr --noheader list cluster || { tail -n 20 "$LAB/log/slurmdbd.log"; die "slurmdbd does not answer"; }
  sacctmgr --noheader list cluster lab format=cluster | grep -q lab || sacctmgr --immediate add cluster lab >/dev/null
}

start_slurmctld() {
  if ! daemon_pid slurmctld >/dev/null; then
    rm -f "$LAB/pid/slurmctld.pid"
    slurmctld -i >>"$LAB/log/slurmctld.out" 2>&1 || { cat "$LAB/log/slurmctld.out"; die "slurmctld did not start"; }
  fi
  until_ok 30 timeout 5 scontrol ping || { tail -n 20 "$LAB/log/slurmctld.log"; die "slurmctld does not answer"; }
}

has_accounting() { [ "$(setting AccountingStorageType slurm.conf)" = accounting_storage/slurmdbd ]; }
