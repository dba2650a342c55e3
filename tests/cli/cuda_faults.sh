# Faults that kernels and their callers have (tests/cuda/faults.cu): the emulated device finds each, by the tier that must find it, and
# says where; and finds nothing where there is none. Tiers: plain, and race, whose kernels are under the detector.
. tests/shell
if [ ! -x "$OUT/tests/faults" ]; then
    skip "planted faults" "no C++17 compiler built the emulated device"
    exit 0
fi
run() { # TIER SEED FAULT
    program=$OUT/tests/faults
    [ "$1" = plain ] || program=$OUT/tests/race/faults
    EMU_SEED=$2 "$program" "$3" > "$TEST_TMP/said" 2>&1
}
silent() { run "$@" && [ ! -s "$TEST_TMP/said" ]; }
for seed in 0 1 2; do
    check "none: plain, order $seed" silent plain $seed none
    check "none: race, order $seed" silent race $seed none
done

# A line that begins with the pattern, and ends with the line of the kernel that has the text.
found() { # TIER FAULT 'PATTERN' 'TEXT'
    run "$1" "${seed:-0}" "$2"
    rc=$?
    line=$(grep -nF -- "$4" tests/cuda/faults.cu | head -n 1 | cut -d: -f1)
    cat "$TEST_TMP/said"
    [ $rc -ne 0 ] && head -n 1 "$TEST_TMP/said" | grep -qE "^EMU: $3.*$([ -z "$4" ] || echo "faults\.cu:$line")"
}
for seed in 0 1; do
    check "no barrier before reading (order $seed)" found race no_first_barrier 'read of shared memory that this block has not written' 'sum += held'
    check "no barrier before writing again (order $seed)" found race no_second_barrier 'race: (read of what another|write of what)' ''
    check "no barrier of a warp (order $seed)" found race no_warp_barrier 'read of shared memory' 'y[threadIdx.x] = held[(threadIdx.x + 1)'
    check "no barrier before fragments are loaded (order $seed)" found race fragments_no_barrier 'read of shared memory' 'load_matrices(b, row)'
    check "copies that are read before they are waited for (order $seed)" found race copies_too_early 'read of shared memory' 'y[threadIdx.x] = held[4'
    check "no barrier behind copies (order $seed)" found race copies_no_barrier 'read of shared memory' 'y[threadIdx.x] = held[4'
    check "blocks that add to one place (order $seed)" found race blocks_race 'race: .*the other: block' 'void blocks_add_kernel'
    check "a block that writes what others read (order $seed)" found race blocks_read_race 'race: .*the other: block' ''
done
seed=0
check "a write behind an array" found race write_beyond 'write outside of every allocation' 'y[i + write_beyond]'
check "a read behind an array" found race read_beyond 'read outside of every allocation' 'y[i + write_beyond]'
check "a read behind a shared array" found race shared_beyond 'read outside of every shared array' 'y[threadIdx.x] = first[threadIdx.x + by]'
check "a read behind dynamic shared memory" found race dynamic_beyond 'read outside of every shared array' 'y[threadIdx.x] = held[threadIdx.x + by]'
check "memory that nobody has written" found race never_written 'read of device memory that nobody has written' 'y[i + write_beyond]'
check "a download of it" found race copied_never_written 'a copy or a library reads device memory that nobody has written' ''
check "a product of it" found race product_never_written 'a copy or a library reads device memory that nobody has written' ''
check "a kernel on host memory" found race host_pointer 'a kernel reads host memory' 'y[i + write_beyond]'
check "memory that was freed" found race after_free 'read outside of every allocation' 'y[i + write_beyond]'
check "no event between streams" found race no_event 'read of device memory that nobody has written' 'y[i + write_beyond]'
MERT_SANITIZED=${MERT_SANITIZED:-}
for tier in plain race; do
    [ $tier$MERT_SANITIZED = plain1 ] || # there the sanitizer has its own words for it
        check "a vector that is not aligned ($tier)" found $tier misaligned 'misaligned access to a vector' 'make_float4(1, 2, 3, 4)'
    check "a barrier for half of the block ($tier)" found $tier half_a_barrier 'threads wait for ever' ''
    check "a shuffle with lanes that have ended ($tier)" found $tier lanes_ended '(threads wait for ever|a warp function waits for a lane that has ended)' ''
    [ $tier$MERT_SANITIZED = plain1 ] ||
        check "fragments from addresses that are not aligned ($tier)" found $tier fragments_misaligned 'misaligned access to a vector' 'load_matrices(b, row)'
    check "fragments for half of a warp ($tier)" found $tier fragments_of_some_lanes '(threads wait for ever|a warp function waits for a lane that has ended)' ''
    check "a copy behind an array ($tier)" found $tier copy_beyond 'a copy reads outside of a block' ''
    check "a product behind an array ($tier)" found $tier product_beyond "a product's operand is not in one block" ''
    check "more shared memory than a launch may have ($tier)" found $tier too_much_shared 'more dynamic shared memory than was asked for: dynamic_overrun_kernel' ''
    check "more threads than a block may have ($tier)" found $tier too_many_threads 'a launch outside of the limits: dynamic_overrun_kernel' ''
    check "memory that is freed twice ($tier)" found $tier freed_twice 'memory is freed that was not allocated' ''
done

# Products of fragments against sums in double.
fragments() { EMU_SEED=$2 "$OUT/tests/$1fragments"; }
for seed in 0 1; do
    check "the layout of fragments (order $seed)" fragments '' $seed
    check "the layout of fragments: race (order $seed)" fragments race/ $seed
done

# What the host does wrong: a result that is wrong, or an access that ends the program.
wrong() { run plain 0 "$1"; [ $? -eq 1 ]; }
check "a download that is read without a wait" wrong no_wait
check "fragments of a matrix that lies the other way" wrong fragments_across
check "an upload whose source changes too early" wrong changed_too_early
ends() { run plain 0 "$1"; [ $? -gt 128 ] || grep -q 'AddressSanitizer: SEGV' "$TEST_TMP/said"; }
check "the host reads device memory" ends host_reads_device
