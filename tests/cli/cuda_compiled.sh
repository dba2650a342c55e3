# What nvcc made of the CUDA plugin: code for each kind of device, no kernel that spills registers, nothing that a program depends on.
. tests/shell
no_cuda() { for f in "$OUT"/bin/*; do ! ldd "$f" 2> /dev/null | grep -E 'libcu|libnv' || return 1; done; }
check "no program links a CUDA library" no_cuda
plugin=$OUT/lib/mert/device-cuda.so
if [ ! -f "$plugin" ]; then
    skip "the plugin of CUDA devices" "no nvcc built it"
    exit 0
fi
exported() { nm -D --defined-only "$plugin" | grep -v -E ' (__bss_start|_edata|_end|_init|_fini)$' | grep -qE ' T mert_device_open$'; }
check "it exports its one function" exported
exchange=$OUT/lib/mert/cuda-nccl.so
if [ -f "$exchange" ]; then
    exchanges() { nm -D --defined-only "$exchange" | grep -q ' T mert_comm_library$' && ldd "$exchange" | grep -q libnccl; }
    check "NCCL is the matter of a plugin of its own" exchanges
else
    skip "the plugin of exchange between devices" "there is no NCCL"
fi
apart() { ! ldd "$plugin" | grep libnccl; }
check "which one process does without" apart
for sm in 80 90 100; do # of each file: one that was compiled for other devices, or without a report, would not be noticed below
    compiled() { for f in libcommon/plugins/cuda/kernels_*.cu; do grep -q "for 'sm_$sm'" "$OUT/cuda/$(basename "$f" .cu).log" || { echo "$f"; return 1; }; done; }
    check "kernels for sm_$sm" compiled
done
spills() { cat "$OUT"/cuda/*.log | grep -E '[1-9][0-9]* bytes spill|[1-9][0-9]* bytes stack frame'; }
none_spills() { ! spills; }
check "no kernel spills" none_spills
largest() { cat "$OUT"/cuda/*.log | sed -n "s/.*[ ,]\([0-9]*\) $1.*/\1/p" | sort -n | tail -n 1; }
within() { n=$(largest "$1"); echo "$n $1"; [ -n "$n" ] && [ "$n" -le "$2" ]; }
check "no kernel takes more than 168 registers" within registers 168
check "nor more than 48 KB of shared arrays" within "bytes smem" 49152
