# Streams in real pipes: the example filter of mert-stream(5), writers that are killed, readers that end early, full
# disks.
. tests/shell
t=$TEST_TMP
valid=formats/stream/valid
piped() { sh -c "$*"; }

# ---- the filter in the manual page compiles with one header and one library, and works ----
sed -n '/^\.\\" gain.c begins/,/^\.\\" gain.c ends/p' man/mert-stream.5 | sed '/^\./d; s/\\e/\\/g' > "$t/gain.c"
is_the_file() { diff "$t/gain.c" formats/stream/example/gain.c; }
check manual_filter_is_the_example is_the_file
build_filter() { ${CC:-cc} ${CFLAGS:-} -std=c11 -Wall -Wextra -Werror -I formats/stream -o "$t/gain" "$t/gain.c" "$OUT/libmts.a" -lzstd; }
is() { printf '%s\n' "$1" > "$t/expected"; shift; "$@" > "$t/is" && diff "$t/expected" "$t/is"; }
cp formats/stream/mts.h "$t/alone.c"
check header_stands_alone ${CC:-cc} -std=c11 -Wall -Wextra -Werror -fsyntax-only -x c "$t/alone.c"
if grep -q asan_init "$OUT/libmts.a"; then CFLAGS="${CFLAGS:-} -fsanitize=address,undefined"; fi
check manual_filter_compiles build_filter
check manual_filter_filters is '0 1 2 1 0 -1 -2 -1' piped "$t/gain 2 < $valid/pcm.mts | mert-tensor text --no-heads | xargs"
check manual_filter_says_that_it_was_there piped "$t/gain 2 < $valid/pcm.mts | mert-tensor ls -l | grep -q '^# via gain 1 factor=2$'"
refuses_kind() {
    "$t/gain" 2 < $valid/three.mts > "$t/out.mts" 2> "$t/said"
    [ $? -eq 1 ] && [ "$(grep -c 'gain: .*: not pcm' "$t/said")" -eq 3 ] && [ "$(mert-tensor ls "$t/out.mts" | grep -c 'failed.gain: not pcm')" -eq 3 ]
}
check manual_filter_refuses_what_does_not_fit refuses_kind
survives() { for f in formats/stream/invalid/*.mts; do "$t/gain" 1 < "$f" > "$t/told" 2> "$t/said"; [ $? -eq 1 ] || { echo "$f"; return 1; }; done; }
check manual_filter_notices_every_fault survives
check_fails manual_filter_full_disk 1 'gain: .*No space left' piped "$t/gain 1 < $valid/pcm.mts > /dev/full"

# ---- a long stream: noise that does not compress ----
mert-tensor from-npy --kind mfcc $golden/kmeans/features.npy > "$t/one.mts"
for i in 1 2 3 4 5 6 7 8; do cat "$t/one.mts"; done > "$t/long.mts"
check long_stream_is_sound mert-tensor check "$t/long.mts"
check zstd_tests_it zstd -tq "$t/long.mts"
check joined_streams_are_a_stream piped "[ \$(mert-tensor ls $t/long.mts | wc -l) -eq 8 ]"

# ---- the reader ends: no message, and the writer ends by SIGPIPE ----
quiet_end() { { mert-tensor cat "$t/long.mts" 2> "$t/said"; echo $? > "$t/rc"; } | head -c 1000 > /dev/null; [ ! -s "$t/said" ] && [ "$(cat "$t/rc")" -eq 141 ]; }
check closed_pipe_ends_quietly quiet_end

# ---- the disk is full ----
check_fails full_disk 1 'standard output.*No space left' piped "mert-tensor cat $t/long.mts > /dev/full"

# ---- every program after a killed writer fails, without pipefail ---- The writer is waiting for more input when it is
# killed; its first records have been passed on by then.
killed_writer() { # what comes after it in the pipe
    rm -f "$t/in" "$t/mid" "$t/copy"; mkfifo "$t/in" "$t/mid"
    mert-tensor cat < "$t/in" > "$t/mid" & writer=$!
    sh -c "tee $t/copy < $t/mid | $1" > "$t/told" 2> "$t/said" & reader=$!
    exec 3> "$t/in"
    head -c 2500000 "$t/long.mts" >&3
    for i in $(seq 6000); do [ "$(wc -c < "$t/copy" 2> /dev/null || echo 0)" -gt 1000000 ] && break; sleep 0.05; done
    kill -9 $writer
    exec 3>&-
    wait $writer 2> /dev/null
    wait $reader; rc=$?
    [ $rc -eq 1 ] && grep -q 'stops without an end record at byte' "$t/said"
}
check killed_writer_is_noticed killed_writer 'mert-tensor ls'
check killed_writer_delivered_what_was_whole grep -q 'features.npy.mfcc' "$t/told"
check killed_writer_is_noticed_by_the_second_program killed_writer 'mert-tensor cat 2> /dev/null | mert-tensor ls'
check killed_writer_is_noticed_by_the_third_program killed_writer 'mert-tensor cat 2> /dev/null | mert-tensor cat 2> /dev/null | mert-tensor check'

# ---- one flipped byte: it is reported with its item, and the rest is used ----
flip() { # FILE OFFSET: that byte becomes another
    old=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "$(printf '\\%03o' $(((old + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}
for key in a b c; do mert-tensor from-npy --kind mfcc --key $key.mp3 $golden/kmeans/features.npy; done > "$t/three.mts"
third=$(($(wc -c < "$t/three.mts") / 3))
flip "$t/three.mts" $((third + third / 2))
found_and_named() {
    mert-tensor cat "$t/three.mts" > "$t/rest.mts" 2> "$t/said"
    [ $? -eq 1 ] && [ "$(wc -l < "$t/said")" -eq 1 ] && grep -q "b.mp3: $t/three.mts: record 0, byte [0-9]*: " "$t/said" || return 1
    mert-tensor ls "$t/rest.mts" > "$t/ls"
    [ $? -eq 1 ] && [ "$(cut -f 2,3 "$t/ls" | tr '\t\n' '  ')" = 'a.mp3 mfcc b.mp3 failed c.mp3 mfcc ' ]
}
check flipped_byte_is_found_and_named found_and_named

# ---- memory does not grow with the length: a tensor of 256 MB within 120 MB of address space ----
if ! grep -q asan_init "$OUT/libmts.a"; then
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (67108864,), }" > "$t/zeros.npy"
    dd if=/dev/null of="$t/zeros.npy" bs=1 seek=$((128 + 4 * 67108864)) 2> /dev/null
    mert-tensor from-npy --kind pcm --rate 24000 "$t/zeros.npy" > "$t/zeros.mts"
    check bounded_memory piped "ulimit -v 120000; mert-tensor cat $t/zeros.mts | mert-tensor stat | grep -q '.67108864..0.0.0.0'"
    rm -f "$t/zeros.npy"
else skip bounded_memory "sanitizers take more"; fi

# ---- a forged header makes only its own item fail: 2^40 time steps, followed by a good stream ----
if ! grep -q asan_init "$OUT/libmts.a"; then
    claims() {
        cat formats/stream/invalid/huge-shape.mts formats/stream/valid/pcm.mts | (ulimit -v 2000000; "$@" --max-failed 1 2> "$t/said") > "$t/claims.mts" &&
            [ "$(mert-tensor ls --max-failed 1 "$t/claims.mts" | wc -l)" -eq 2 ] && mert-tensor ls --max-failed 1 "$t/claims.mts" | sed 1q | grep -q 'tone.wav.failed.read: '
    }
    check a_claimed_length_costs_its_item claims mert-mel
    check a_claimed_length_costs_its_item_in_a_codec claims mert-rvq encode -m $golden/encodec-tiny/model.safetensors
else skip a_claimed_length_costs_its_item "sanitizers take more"; fi
