#!/usr/bin/env bash
# A Ray cluster on the nodes of a Slurm job, and one of wd's commands on it:
#
#     sbatch --nodes=4 --time=12:00:00 cluster/slurm.sh run multi30k corpus.dir=DIR root=DIR
#
# It is submitted from the checkout, which all nodes see; VENV names the environment to use, by
# default .venv. GPUs are asked for as everywhere (--gpus-per-node=8). Five minutes before the time
# limit the command saves and stops, also after `scancel --batch --signal=TERM JOB`; the same line
# goes on from there.
#SBATCH --job-name=weight-distillation
#SBATCH --output=wd-%j.log
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:TERM@300
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "which command? sbatch [OPTIONS] cluster/slurm.sh run RECIPE [KEY=VALUE]..." >&2
    exit 2
fi
python=$(realpath --no-symlinks "${VENV:-.venv}")/bin/python
# shellcheck disable=SC2016  # each node's own figures
ray=(bash -c 'exec "$0" -m ray.scripts.scripts start --block --disable-usage-stats \
    --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@"' "$python")

# The token is in the environment alone, which other users of a node cannot read. Ports and folder
# go by the job, so that jobs that share a node do not meet.
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$("$python" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
port=$((20000 + SLURM_JOB_ID % 1000 * 10))
address=$("$python" -c 'import ray; print(ray.util.get_node_ip_address())'):$port
ray+=(--dashboard-agent-listen-port=0 --temp-dir="/tmp/ray-$SLURM_JOB_ID")

# The head is the node that this script runs on. A node that is lost does not end the others.
step=(srun --output="wd-$SLURM_JOB_ID-%N.log" --cpu-bind=none --kill-on-bad-exit=0 --no-kill)
"${step[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" "${ray[@]}" --head --port="$port" \
    --dashboard-port=$((port + 1)) --ray-client-server-port=$((port + 2)) &
head=$!
until "$python" -m ray.scripts.scripts health-check --address="$address" 2>/dev/null; do
    kill -0 $head
    sleep 2
done
workers=$((SLURM_JOB_NUM_NODES - 1))
if [ $workers -gt 0 ]; then
    "${step[@]}" --nodes=$workers --ntasks=$workers --exclude="$SLURMD_NODENAME" \
        "${ray[@]}" --address="$address" &
fi

RAY_ADDRESS=$address "$python" -m pipelines "$@" &
command=$!
trap 'kill -TERM $command' TERM
status=0
wait $command || status=$?
# A signal ends the waiting, not the command, which saves first.
while kill -0 $command 2>/dev/null; do
    status=0
    wait $command || status=$?
done
exit $status
