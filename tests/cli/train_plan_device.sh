# mert-train --plan --device cuda:NAME: what a run would need of a device that is not here, by its published rates.
. tests/shell
cd "$TEST_TMP" || exit 1
{ echo /nowhere; for i in $(seq 64); do printf 'a%s.wav\t132000\n' "$i"; done; } > train.tsv # nothing is read but the lengths
plan() { recipe=$1 on=$2; shift 2; mert-train -q --plan --threads 1 --recipe "$recipe" --manifest train.tsv --device "$on" --set max_update=100 "$@"; }
value() { awk -v name="    $1 " '/^on / {on = 1} on && index($0, name) == 1 {sub(name, ""); print $1; exit}' "$2"; } # of the device's part
part() { sed -n "s/^    an update, at least .* $1 \([0-9.]*\) ms.*/\1/p" "$2"; }
holds() { awk "BEGIN {exit !($1)}" || { echo "not: $1"; return 1; }; }

# Parameters by the architecture's formulas: extractor, projection and norms, mask, positions, layers, heads.
parameters() { # WIDTH FFN LAYERS FINAL
    echo $((512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2 + 2 * 512 + 2 * 512 + 512 * $1 + $1 + $1 + 128 + $1 * $1 / 16 * 128 + $1 + 2 * $1 +
        $3 * (4 * ($1 * $1 + $1) + 2 * $1 * $2 + $2 + $1 + 4 * $1) + 8 * ($1 * $4 + $4) + 8 * 1028 * $4 + 336 * $1 + 336))
}
plan MERT_RVQ-VAE_CQT_95M cuda:H200 --set precision=bf16 > 95; plan MERT_RVQ-VAE_CQT_330M cuda:h100 --set precision=bf16 > 330
model() { # FILE PARAMETERS: weights, gradients and moments in float32
    n=$2; g() { awk -v n="$n" -v b="$1" 'BEGIN {printf "%.3f", n * b / 1e9}'; }
    grep -q "^    all  *$(awk -v n="$n" 'BEGIN {printf "%.3f", n / 1e6}') million" "$1" &&
        [ "$(value weights "$1")" = "$(g 4)" ] && [ "$(value gradients "$1")" = "$(g 4)" ] && [ "$(value optimiser "$1")" = "$(g 8)" ]
}
check "95M: weights, gradients and moments" model 95 "$(parameters 768 3072 12 64)"
check "330M: the same" model 330 "$(parameters 1024 4096 24 128)"
beside() { grep -q '^    the run, on this machine ' 95 && grep -q '^on H200 (141 GB, 989.5 TFLOP/s of 16 bits, 4800 GB/s' 95 && grep -q '^on H100 (80 GB, ' 330; }
check "beside the CPU's, on the device that was named" beside
together() {
    holds "$(value together 95) - ($(value weights 95) + $(value gradients 95) + $(value optimiser 95) + $(value 'largest batch' 95) + $(value 'work space' 95) + $(value 'driver and libraries' 95)) < 0.004" &&
        holds "$(value 'largest batch' 95) > 1"
}
check "together they are their sum" together
floor() { # products are the operations of an update by the rate; the least time is the longer one
    work=$(awk '$1 == "an" && $2 == "update" && $4 == "GFLOP" {print $3}' 95) least=$(value 'an update, at least' 95)
    holds "$(part products 95) / ($work / 989500 * 1000) - 1 < 0.001 && $(part products 95) / ($work / 989500 * 1000) > 0.999" &&
        holds "$(sum 95) / $least < 1.001 && $(sum 95) / $least > 0.999 || $least == $(part memory 95)" && holds "$least >= $(part memory 95) && $least > 0.999 * $(sum 95)"
}
sum() { awk "BEGIN {print $(part products "$1") + $(part targets "$1")}"; }
check "the least time" floor
plan MERT_RVQ-VAE_CQT_95M cuda:H200 --set precision=bf16 --set audio_cqt_loss_m=no > without
targets() { # a frame of the CQT is about 1.38 million operations in float32; of the frames, 1 - exp(-mask_prob) are masked
    seconds=$(sed -n 's/^.* \([0-9.]*\) s of audio.*/\1/p' 95 | head -n 1)
    [ "$(part targets without)" = 0.000 ] && holds "$(value 'largest batch' without) < $(value 'largest batch' 95)" && echo "$seconds s" &&
        holds "$(part targets 95) / ($seconds * 75 * 0.55 * 1.38e6 / 67e12 * 1000) - 1 < 0.03" && holds "$(part targets 95) / ($seconds * 75 * 0.55 * 1.38e6 / 67e12 * 1000) - 1 > -0.03"
}
check "CQT targets, at the rate of float32" targets
plan MERT_RVQ-VAE_CQT_95M cuda:H200 --set precision=bf16 --set mixture_prob=0 > clean
twice() { holds "$(value 'largest batch' 95) - $(value 'largest batch' clean) >= 0.007 && $(value 'largest batch' 95) - $(value 'largest batch' clean) <= 0.016"; } # 7.68 MB for each batch on its way
check "with the mixture, the samples that the targets are of as well" twice
plan MERT_RVQ-VAE_CQT_95M cuda:141/67/989.5/4800 --set precision=bf16 --recompute > recomputed
recomputed() {
    holds "$(value 'largest batch' recomputed) < 0.8 * $(value 'largest batch' 95)" && holds "$(part products recomputed) > 1.33 * $(part products 95)" &&
        [ "$(value optimiser recomputed)" = "$(value optimiser 95)" ]
}
check "recomputing needs less memory and more time; rates instead of a name" recomputed
plan MERT_RVQ-VAE_CQT_330M cuda:H100 --set precision=bf16 --processes 4 --shard optimizer > shared
plan MERT_RVQ-VAE_CQT_330M cuda:H100 --set precision=bf16 --processes 4 --shard full > full
sharded() {
    holds "$(value optimiser shared) < 0.251 * $(value optimiser 330) && $(value optimiser shared) > 0.249 * $(value optimiser 330)" &&
        [ "$(value weights shared)" = "$(value weights 330)" ] && holds "$(value weights full) < 0.6 * $(value weights 330)" &&
        holds "$(value together full) < $(value together shared)" &&
        holds "4 * $(part products shared) > 0.99 * $(part products 330) && 4 * $(part products shared) < 1.01 * $(part products 330)"
}
check "four processes share the batches of an update, and its state" sharded
plan small-conformer cuda:2/10/20/300 --set max_tokens=12000000 --set max_sample_size=120000 > small
little() { grep -q '^    together  .*more than it has$' small && grep -q '^    what would fit: .*--set max_tokens=[0-9]* ([01]\.[0-9] GB)$' small; }
check "a device that is too small: what would fit (the other kind of model)" little
plan MERT_RVQ-VAE_CQT_330M cuda:2/10/20/300 --offload host > none
none() { [ "$(value optimiser none)" = 0.000 ] && grep -q '^    what would fit: neither ' none; }
check "nothing would; moments that are kept elsewhere" none

check_fails "an unknown name: the names" 1 "no device 'H7' in the table: there are B200, .*H200, .*RTX-4090; another one is GB/" plan tiny cuda:H7
check_fails "rates that are none" 1 "no device '1/2/3' in the table" plan tiny cuda:1/2/3
check_fails "a run on a name" 1 "no device 'cuda:H200': there are " mert-train -q --recipe tiny --manifest train.tsv --labels train.l --save run --device cuda:H200
export MERT_PLUGINS=$TEST_TMP
check_fails "no device here: how to plan for one that is not" 1 'device-cuda.so; for one that is not here: --plan --device cuda:NAME .B200, ' plan tiny cuda
