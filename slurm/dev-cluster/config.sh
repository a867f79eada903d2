# shellcheck shell=bash
# Sourced by up.sh: writes the configuration of the whole cluster into a folder. The settings are described in README.md.
NODES=${SLURM_NODES:-4}
CPUS=${SLURM_CPUS:-4}
MEMORY_MB=${SLURM_MEM:-8000}
GPUS=${SLURM_GPUS:-2}
PORT0=${SLURM_PORT0:-17100}
ACCOUNTING=${SLURM_DBD:-1}
CGROUP=${SLURM_CGROUP:-0}
PREEMPT=${SLURM_PREEMPT:-REQUEUE}
MUNGE_SOCKET=$LAB/munge/socket
# With ordinary users, each sees only what is theirs.
PRIVATE=${SLURM_USERS:+PrivateData=jobs,usage,users,accounts,reservations}

write_config() { # folder
  loopback_only
  slurm_conf >"$1/slurm.conf"
  gres_conf >"$1/gres.conf"
  dbd_conf >"$1/slurmdbd.conf"
  chmod 600 "$1/slurmdbd.conf" # slurmdbd refuses to start otherwise
  if [ "$CGROUP" = 1 ]; then
    cat <<CONF >"$1/cgroup.conf"
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
CONF
  fi
  { cat /etc/hosts; for n in $(seq "$NODES"); do echo "127.0.0.1 n$n"; done; } >"$1/hosts"
}

# Slurm listens where this host's own name points to; if that is not 127.x it must be told to listen everywhere.
loopback_only() {
  NO_ANY_CTL=CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
  NO_ANY_DBD=CommunicationParameters=NoInAddrAny
  case "$(getent ahostsv4 "$(hostname)" | head -n 1)" in
    127.*) ;;
    *)
      say "note: the name $(hostname) does not point to 127.x, so Slurm listens on all addresses"
      NO_ANY_CTL=''
      NO_ANY_DBD=''
      ;;
  esac
}

slurm_conf() {
  cat <<CONF
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$((PORT0 + 1))
SlurmdPort=$((PORT0 + 10))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job may start cred_expire + 1 s later; with 5 it starts while its old step still dies, and drains the node.
AuthInfo=socket=$MUNGE_SOCKET,cred_expire=${SLURM_CRED_EXPIRE:-10}
$NO_ANY_CTL
StateSaveLocation=$LAB/state/ctld
SlurmdSpoolDir=$LAB/state/spool.%n
SlurmctldPidFile=$LAB/pid/slurmctld.pid
SlurmdPidFile=$LAB/pid/inner.%n.pid
SlurmctldLogFile=$LAB/log/slurmctld.log
SlurmdLogFile=$LAB/log/slurmd.%n.log
SlurmctldDebug=verbose
SlurmdDebug=verbose
# The nodes claim more cores and memory than this host has.
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MaxArraySize=${SLURM_MAX_ARRAY:-1001}
MaxJobCount=20000
MinJobAge=${SLURM_MIN_JOB_AGE:-300}
# A cluster that was wiped must not give out the job ids of the one before.
FirstJobId=$(cat "$LAB/first_job_id")

# Schedule at once
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=1,bf_continue,bf_window=1440
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=$([ "$PREEMPT" = SUSPEND ] && echo SUSPEND,GANG || echo REQUEUE)
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
$PRIVATE

# Notice failures soon
KillWait=2
BatchStartTimeout=10
CompleteWait=0
SlurmctldTimeout=30
SlurmdTimeout=${SLURM_SLURMD_TIMEOUT:-5}
MessageTimeout=5
TCPTimeout=2
InactiveLimit=0
# With 2, a node that was set down by hand would return at once.
ReturnToService=1
# Longer than any outage of slurmctld in the tests: expiry drains the node.
UnkillableStepTimeout=120
PropagateResourceLimits=NONE
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
$(accounting_lines)
$(memory_lines)
${SLURM_EXTRA_CONF:-}

$(node_lines)
PartitionName=DEFAULT Nodes=ALL MaxTime=1:00:00 DefMemPerCPU=100 State=UP
PartitionName=main Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=low PriorityTier=1 PreemptMode=$PREEMPT GraceTime=${SLURM_GRACE:-3}
PartitionName=high PriorityTier=100 PreemptMode=OFF
CONF
}

accounting_lines() {
  if [ "$ACCOUNTING" != 1 ]; then
    echo AccountingStorageType=accounting_storage/none
    return
  fi
  # Without the socket in AccountingStoragePass, clients ask the munged of the system.
  cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT0 + 2))
AccountingStoragePass=$MUNGE_SOCKET
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
CONF
}

memory_lines() {
  if [ "$CGROUP" = 1 ]; then # the kernel kills, and Slurm says OUT_OF_MEMORY
    printf '%s\n' ProctrackType=proctrack/cgroup TaskPlugin=task/cgroup
  else # Slurm polls each second and kills; the state is FAILED
    printf '%s\n' ProctrackType=proctrack/linuxproc TaskPlugin=task/none JobAcctGatherParams=OverMemoryKill
  fi
}

# Debian's slurmd is built for one node a host; a host name and port of its own for each node gets round that.
node_lines() {
  local n
  for n in $(seq "$NODES"); do
    echo "NodeName=n$n NodeHostname=n$n NodeAddr=127.0.0.1 Port=$((PORT0 + 10 + n)) CPUs=$CPUS Boards=1" \
      "SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY_MB Gres=gpu:toy:$GPUS" \
      "Feature=$([ $((n % 2)) = 1 ] && echo odd || echo even) State=UNKNOWN"
  done
}

# A GPU must be a character device whose name ends in its number: copies of /dev/null do.
gres_conf() {
  local n gpu device
  for n in $(seq "$NODES"); do
    mkdir -p "$LAB/dev/n$n"
    for gpu in $(seq 0 $((GPUS - 1))); do
      device=$LAB/dev/n$n/gpu$gpu
      [ -c "$device" ] || mknod -m 666 "$device" c 1 3
      echo "NodeName=n$n Name=gpu Type=toy File=$device"
    done
  done
}

dbd_conf() {
  cat <<CONF
AuthType=auth/munge
AuthInfo=socket=$MUNGE_SOCKET
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT0 + 2))
$NO_ANY_DBD
SlurmUser=root
LogFile=$LAB/log/slurmdbd.log
PidFile=$LAB/pid/slurmdbd.pid
DebugLevel=verbose
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT0 + 3))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
$PRIVATE
CONF
}
