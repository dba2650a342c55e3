# pipelines/slurm: the scripts, with a Slurm that runs them here: sbatch checks the #SBATCH lines, srun runs as many tasks as they ask
# for, and mert-train notes what it is called with.
. tests/shell
cd "$TEST_TMP" || exit 1
here=$OLDPWD
mkdir -p fake
tool() { cat > "fake/$1"; chmod +x "fake/$1"; }
tool sbatch <<'END'
#!/bin/sh
script=$1; shift
SLURM_JOB_ID=77 SLURM_CPUS_PER_TASK=$(sed -n 's/^#SBATCH --cpus-per-task=//p' "$script") tasks=$(sed -n 's/^#SBATCH --ntasks\(-per-node\)*=//p' "$script")
export SLURM_JOB_ID SLURM_CPUS_PER_TASK tasks
! grep '^#SBATCH' "$script" | grep -v -E '^#SBATCH --(job-name|nodes|ntasks|ntasks-per-node|cpus-per-task|gpus-per-node|mem|exclusive|time|signal|requeue|open-mode)(=[^ ]*)?$' || exit 9
exec sh "$script" "$@"
END
tool srun <<'END'
#!/bin/sh
while :; do case $1 in --*) shift ;; *) break ;; esac; done
for task in $(seq "$tasks"); do "$@" || status=$?; done
exit "${status:-0}"
END
tool mert-train <<'END'
#!/bin/sh
echo "$@" >> calls
printf '%s\n' "$@" | grep '^--' >> options
exit "${ENDS:-0}"
END
tool scontrol <<'END'
#!/bin/sh
echo "$@" > requeued
END
job() { script=$1; shift; rm -f calls options requeued; PATH=$TEST_TMP/fake:$PATH fake/sbatch "$here/pipelines/slurm/$script" "$@"; }

for s in one-gpu eight-gpus; do check "$s: syntax" sh -n "$here/pipelines/slurm/$s"; done
one() { DATA='my data' RUN=run job one-gpu --recompute && [ "$(cat calls)" = '--device cuda --set precision=bf16 --recipe MERT_RVQ-VAE_CQT_95M --manifest my data/train.tsv --labels my data/train.encodec_%d --threads 8 --save run --resume --recompute' ] && [ ! -e requeued ]; }
check "one GPU" one
eight() { DATA=data RUN='a run' RECIPE=r PRECISION=fp16 LABELS=train.km job eight-gpus --shard full && [ "$(wc -l < calls)" -eq 8 ] &&
    [ "$(sort -u calls)" = '--device cuda --set precision=fp16 --recipe r --manifest data/train.tsv --labels data/train.km --threads 8 --save a run --resume --shard full' ]; }
check "eight GPUs: a process for each" eight
known() { mert-train --help > help; sort -u options | while read -r o; do grep -q -- " $o\b" help || { echo "no option $o"; return 1; }; done; }
check "mert-train has these options" known
settings() { mert-train --print-recipe --recipe "$here/pipelines/recipes/MERT_RVQ-VAE_CQT_95M" --set precision=bf16 | grep -q '^precision = bf16'; }
check "and this setting" settings
again() { for s in one-gpu eight-gpus; do ENDS=138 DATA=d RUN=r job $s && [ "$(cat requeued)" = 'requeue 77' ] || return; done; }
check "stopped by the signal: once more" again
failed() { ENDS=1 DATA=d RUN=r job one-gpu; [ $? -eq 1 ] && [ ! -e requeued ]; }
check "failed: not again" failed
check_fails "no data" 2 'DATA: a folder of prepare.mk' env -u DATA RUN=r sh "$here/pipelines/slurm/one-gpu"
