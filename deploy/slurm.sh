#!/bin/bash
# Features and answers of many photos as an array of Slurm jobs, one part of 64 each. The project,
# its data folder and the model lie on a file system that all machines share.
#
#     cd PROJECT && bears run --until split && bears features --plan
#     sbatch deploy/slurm.sh features
#     sbatch deploy/slurm.sh predict /shared/photos /shared/answers.csv      or s3://bucket/answers.csv
#
# A job that is stopped is queued again and goes on where it was. Afterwards `bears run` finds all
# features there; the parts of a table are called answers-00003-of-00064.csv.
#SBATCH --job-name=bears
#SBATCH --array=1-64
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=bears-%A-%a.log
set -euo pipefail

part="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"

case "$1" in
  features) bears features --shard "$part" ;;
  predict)
    # 1: some of the photos cannot be read; the table says which
    bears predict --quiet --shard "$part" --csv "$3" "$2" >/dev/null || [ $? -eq 1 ]
    ;;
esac
