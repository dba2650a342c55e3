# --device: the backends of every build, and plugins. The plugin of this test is the dry backend (nn/dry.c).
. tests/shell
root=$PWD
. tests/training

mkdir -p "$t/plugins"
export MERT_PLUGINS="$t/plugins"
plugin() { # NAME 'SOURCE': device-NAME.so
    printf '%s\n' "$2" > "$t/$1.c"
    ${CC:-cc} -std=c11 -D_POSIX_C_SOURCE=200809L -I"$root" -fPIC -shared -o "$t/plugins/device-$1.so" "$t/$1.c"
}
plan() { mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --device "$@"; }
refused() { check_fails "$1" 1 "$3" plan "$2"; } # NAME DEVICE 'PATTERN'

refused "none of that name: the file that is missing" cuda "no device 'cuda': there are cpu and guard, and no plugin $t/plugins/device-cuda.so; for one that is not here: --plan --device cuda:NAME .B200, .*\$"
refused "none of that name, with a number" cuda:1 "no device 'cuda:1': there are cpu and guard, and no plugin $t/plugins/device-cuda.so; for one that is not here: "
check_fails "a run has no more to say" 1 "no device 'cuda': there are cpu and guard, and no plugin $t/plugins/device-cuda.so\$" \
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save run --device cuda
for name in cpu:1 guard:0 ../x x/y x: x:y x:-1 x:99999999999 :1 '' "$(printf %070d 0)"; do
    refused "no name: '$name'" "$name" "no device '$name': there are cpu and guard, and those of plugins, as NAME or NAME:NUMBER\$"
done
check_fails "mert-encode says so, too" 1 "no device 'cuda': there are cpu and guard, and no plugin $t/plugins/device-cuda.so\$" \
    mert-encode --device cuda -m "$t" /dev/null

echo text > "$t/plugins/device-text.so"
refused "no shared object" text "device 'text': the plugin cannot be loaded: .*device-text.so"
check "a plugin without the function" plugin empty 'int nothing(void); int nothing(void) { return 0; }'
refused "is refused" empty "device 'empty': $t/plugins/device-empty.so is no plugin of this program\$"

check "a plugin that computes nothing" plugin dry '#include "libcommon/nn/dry.c"
#include <stdio.h>
mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e);
mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e)
{
    (void)type;
    if (version != MERT_OPS_VERSION || number != 2)
        return snprintf(e->text, sizeof e->text, "there is no device %d: there are 2 to 2", number), NULL;
    return mert_ops_dry(NULL);
}'
refused "its own words" dry "device 'dry': there is no device 0: there are 2 to 2\$"
planned() { plan dry:2 > plan.out && grep -q '^work and time' plan.out; }
check "it is opened by its number" planned

# ---- the CUDA plugin's own words, on the emulated device ----

unset MERT_PLUGINS
if [ ! -f "$OUT/lib/mert/device-emulated.so" ]; then
    skip "the emulated device" "no C++17 compiler built it"
    exit 0
fi
case $golden in /*) g=$golden ;; *) g=$root/$golden ;; esac
mert-tensor from-npy --kind pcm --rate 24000 --key a "$g/mert-post-ln/audio.npy" > a.mts
encode() { mert-encode -m "$g/mert-post-ln" --device "$@" a.mts > out.mts; }
with() { variable=$1; shift; env "$variable" mert-encode -m "$g/mert-post-ln" --device "$@" a.mts > out.mts; }
check "eight devices: the second" encode emulated:1
check_fails "there is no ninth" 1 "device 'emulated:8': there is no device 8: there are 0 to 7\$" encode emulated:8
check_fails "no driver" 1 "device 'emulated': no driver that can be used: " with EMU_DEVICES=none emulated
check_fails "no device" 1 "device 'emulated': no device is found: " with EMU_DEVICES=0 emulated
check_fails "no memory on the device for the weights" 1 "out of memory for the weights: device emulated:0 .emulated device 0. has 0.00 GB in all: a smaller model, or --device cpu\$" with EMU_MEMORY=1000000 emulated
check_fails "none for a clip" 1 "a: out of memory for a clip of 24000 samples: device emulated:0 .emulated device 0. has 0.01 GB in all: --window takes less\$" with EMU_MEMORY=6000000 emulated
train_with() { variable=$1; shift; env "$variable" mert-train -q --threads 1 --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save run --device emulated "$@"; }
check_fails "none for the state of a run" 1 "out of memory for the state of [0-9]* parameters: device emulated:0 .emulated device 0. has 0.00 GB in all: --recompute, " train_with EMU_MEMORY=200000
check_fails "none for a batch" 1 "out of memory.*: device emulated:0 .emulated device 0. has 0.00 GB in all: --recompute, --offload host and a smaller max_tokens take less, as --plan shows\$" train_with EMU_MEMORY=2000000
check_fails "a kernel that fails in training" 1 "device emulated:0 .emulated device 0.: .*: an illegal memory access was encountered" train_with EMU_FAIL=400
for nth in 1 60; do
    check_fails "an error that kernel $nth leaves behind" 1 "device emulated:0 .emulated device 0.: .*: an illegal memory access was encountered" \
        with EMU_FAIL=$nth emulated
done
check_fails "and which it was" 1 "device emulated:0 .emulated device 0.: attention: an illegal memory access" env CUDA_LAUNCH_BLOCKING=1 \
    EMU_FAIL=60 mert-encode -m "$g/mert-post-ln" --device emulated a.mts

timed() { # a table for each run; what is computed stays the same
    encode emulated && cp out.mts plain.mts && with MERT_CUDA_TIMES="$t/times" emulated && cmp out.mts plain.mts && with MERT_CUDA_TIMES="$t/times" emulated &&
        [ "$(grep -c '^emulated:0 (emulated device 0): [0-9.]* ms in [1-9][0-9]* operations$' "$t/times")" -eq 2 ] &&
        awk '/operations$/ { if (NR > 1 && n != all) bad = 1; all = $(NF - 1); n = 0; least = 1e9; next }
             { n += $4; bad = bad || $1 > least; least = $1; gemm += $NF == "gemm" } END { exit bad || n != all || gemm != 2 }' "$t/times"
}
check "the times of operations" timed
check_fails "a kernel that fails while it is timed" 1 "an illegal memory access was encountered" env EMU_FAIL=60 MERT_CUDA_TIMES="$t/lost" mert-encode -m "$g/mert-post-ln" --device emulated a.mts

# The real one, where it was built and there is no device.
if [ ! -f "$OUT/lib/mert/device-cuda.so" ]; then
    skip "the plugin of CUDA devices" "no nvcc built it"
elif [ -e /dev/nvidiactl ]; then
    skip "a machine without a CUDA device" "this one may have one"
else
    check_fails "no CUDA device here: a line" 1 "device 'cuda': (no driver that can be used|no device is found|the plugin cannot be loaded): " encode cuda
fi
