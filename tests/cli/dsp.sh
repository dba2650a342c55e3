# mert-cqt and mert-mel: reference values through real pipes, the same bytes however they are run, and refusals.
. tests/shell
t=$TEST_TMP

pcm() { mert-tensor from-npy --allow-nonfinite --kind pcm --rate "$1" --key "$2" "$3"; }
raw() { zstd -dcq "$1"; }
# npy TYPE SHAPE: raw numbers from standard input as an .npy file.
npy() {
    printf '\223NUMPY\001\000\166\000'
    printf "%-117s\n" "{'descr': '$1', 'fortran_order': False, 'shape': ($2), }"
    cat
}
# near KIND RATE FRAME_RATE PEAK REFERENCE STREAM: within 2e-5 of the peak.
near() {
    mert-tensor from-npy --kind "$1" --rate "$2" --frame-rate "$3" --key a "$5" > "$t/reference.mts" &&
        mert-tensor cmp --rtol 0 --atol "$(awk "BEGIN { print 2e-5 * $4 }")" "$6" "$t/reference.mts"
}

pcm 24000 a "$golden/cqt/audio_24k.npy" > "$t/a.mts"
pcm 16000 a "$golden/cqt/audio_16k.npy" > "$t/a16.mts"

# ---- values ----

reference() { # REFERENCE RATE PEAK STREAM OPTIONS...
    reference=$1 rate=$2 peak=$3 stream=$4
    shift 4
    mert-cqt "$@" "$stream" > "$t/cqt.mts" && near cqt "$rate" "$rate/320" "$peak" "$golden/cqt/$reference.npy" "$t/cqt.mts"
}
check "cqt: MERT's 336 bins agree with the reference" reference cqt336_sr24000_hop320 24000 5.57 "$t/a.mts"
check "cqt: 84 bins agree with the reference" reference cqt84_sr24000_hop320 24000 4 "$t/a.mts" --bins 84 --bins-per-octave 12
check "cqt: 84 bins at 16 kHz agree with the reference" reference cqt84_sr16000_hop320 16000 4 "$t/a16.mts" --bins 84 --bins-per-octave 12
mels() {
    pcm 24000 a "$golden/features/audio_24k.npy" | mert-mel --bins 229 --power > "$t/mel.mts" &&
        near mel 24000 24000/320 3788 "$golden/features/mel229_power_24k.npy" "$t/mel.mts"
}
mfccs() {
    pcm 16000 a "$golden/features/audio_16k.npy" | mert-mel --mfcc > "$t/mfcc.mts" &&
        near mfcc 16000 16000/160 74 "$golden/features/mfcc39_16k.npy" "$t/mfcc.mts"
}
check "mel: power agrees with the reference" mels
check "mel: MFCC agree with the reference" mfccs
flat() { mert-tensor text --no-heads "$1" | tr ' ' '\n'; }
energy() { # a periodic Hann window of n samples has the energy 3/8 n
    mert-mel --n-fft 512 --hop 160 --bins 40 "$t/a16.mts" > "$t/power.mts" && mert-mel --n-fft 512 --hop 160 --bins 40 --normalized "$t/a16.mts" > "$t/normal.mts" && flat "$t/power.mts" > "$t/p" && flat "$t/normal.mts" > "$t/n" &&
        paste "$t/p" "$t/n" | awk '{ d = $1 - 192 * $2; if (d * d > 1e-8 * $1 * $1) bad = 1 } $1 > 1e-3 { n++ } END { exit bad || n < 1000 }'
}
check "mel: --normalized divides power by the window's energy" energy
upper() { # the whole band by its number, and half of it with the same number of bins
    mert-mel --bins 40 "$t/a16.mts" > "$t/all.mts" && mert-mel --bins 40 --fmax 8000 "$t/a16.mts" > "$t/8000.mts" && mert-mel --bins 40 --fmax 4000 "$t/a16.mts" > "$t/4000.mts" &&
        mert-tensor cmp "$t/all.mts" "$t/8000.mts" && ! mert-tensor cmp "$t/all.mts" "$t/4000.mts" > "$t/cmp"
}
check "mel: --fmax" upper

# ---- the same bytes however it is run ----

pcm 24000 b "$golden/features/audio_24k.npy" > "$t/b.mts"
for command in mert-cqt "mert-cqt --chroma 12" "mert-mel --log" "mert-mel --mfcc"; do
    $command --threads 1 "$t/a.mts" > "$t/one.mts"
    $command --threads 1 "$t/b.mts" > "$t/other.mts"
    { raw "$t/one.mts"; raw "$t/other.mts"; } > "$t/alone.raw"
    together() { [ -s "$t/alone.raw" ] && cat "$t/a.mts" "$t/b.mts" | $command --threads "$1" | zstd -dcq | cmp - "$t/alone.raw"; }
    check "$command: together as alone, 1 thread" together 1
    check "$command: together as alone, 3 threads" together 3
    isa() { MERT_ISA=generic $command "$t/a.mts" > "$t/generic.mts" && mert-tensor cmp --rtol 1e-3 --atol 1e-3 "$t/generic.mts" "$t/one.mts"; }
    check "$command: another instruction set gives nearly the same" isa
done

rates() {
    for f in a a16 b; do mert-cqt --hop 320 "$t/$f.mts" | zstd -dcq > "$t/$f.alone" || return; done
    mert-cqt --hop 320 "$t/a.mts" "$t/a16.mts" "$t/b.mts" | zstd -dcq > "$t/rates.raw" &&
        cat "$t/a.alone" "$t/a16.alone" "$t/b.alone" | cmp - "$t/rates.raw"
}
check "cqt: items of several rates together as alone" rates

mert-tensor to-npy -o "$t/a.npy" "$t/a.mts"
tail -c 192000 "$t/a.npy" > "$t/a.raw"
crops() {
    mert-cqt --per-crop 16000 "$t/a.mts" > "$t/crops.mts" && raw "$t/crops.mts" > "$t/crops.raw" || return
    mert-tensor ls "$t/crops.mts" | grep -qF '[151,336]' || return
    : > "$t/pieces.raw"
    for i in 0 1 2; do
        dd if="$t/a.raw" bs=64000 skip=$i count=1 2> /dev/null | npy '<f4' 16000, > "$t/piece.npy"
        pcm 24000 p "$t/piece.npy" | mert-cqt | zstd -dcq > "$t/piece.raw"
        [ $i = 2 ] && cat "$t/piece.raw" || head -c $((50 * 336 * 4)) "$t/piece.raw"
    done > "$t/pieces.raw"
    cmp "$t/crops.raw" "$t/pieces.raw"
}
check "cqt: --per-crop is the transform of each crop by itself" crops

printf '\000\100\000\300\001\000\377\177' | npy '<i2' 4, > "$t/i16.npy"
printf '\000\000\000\077\000\000\000\277\000\000\000\070\000\376\177\077' | npy '<f4' 4, > "$t/f32.npy"
integers() {
    for program in mert-cqt mert-mel; do
        for type in i16 f32; do pcm 24000 k "$t/$type.npy" | $program | zstd -dcq > "$t/$type.raw" || return; done
        [ -s "$t/i16.raw" ] && cmp "$t/i16.raw" "$t/f32.raw" || return
    done
}
check "int16 is taken as 32768ths" integers

# ---- forms ----

lists() { pattern=$1; shift; "$@" | mert-tensor ls | grep -qF "$pattern"; }
check "cqt: complex has a last axis of 2" lists '[151,336,2]' mert-cqt --form complex "$t/a.mts"
check "cqt: chroma of 24 classes" lists 'chroma	f32	[151,24]' mert-cqt --chroma 24 "$t/a.mts"
log_power() { # log10(1 + 10000 m^2) of the magnitudes m
    for f in magnitude log-power; do mert-cqt --form $f "$t/a.mts" | mert-tensor to-npy -o "$t/form.npy" && tail -c +129 "$t/form.npy" | od -An -v -w4 -tf4 > "$t/$f" || return; done
    paste "$t/magnitude" "$t/log-power" | awk '{ d = $2 - log(1 + 10000 * $1 * $1) / log(10); if (d < -2e-5 || d > 2e-5) bad = 1; n += $2 > 1 } END { exit bad || n < 1000 }'
}
check "cqt: log-power is of the magnitudes" log_power
check_fails "cqt: no such form" 2 "form: 'log10' is none of: magnitude log complex log-power" mert-cqt --form log10 "$t/a.mts"
check_fails "mel: an option that MFCC have not" 2 "no --bins, --n-fft, --hop" mert-mel --mfcc --hop 320 "$t/a16.mts"
check_fails "mel: a lower end that the preset has not" 2 "--preset sets all" mert-mel --preset mert2 --fmin 50 "$t/a16.mts"
check_fails "mel: a floor without a logarithm" 2 "log-floor is for --log" mert-mel --log-floor 1e-3 "$t/a16.mts"
check_fails "mel: deltas without MFCC" 2 "deltas is for --mfcc" mert-mel --deltas 1 "$t/a16.mts"
check_fails "cqt: a floor without a logarithm" 2 "log-floor is for --form log" mert-cqt --log-floor 1e-3 "$t/a16.mts"
check "mel: MFCC without deltas" lists 'mfcc	f32	[248,13]' mert-mel --mfcc --deltas 0 "$t/a16.mts"
largest() { mert-cqt --chroma 12 "$1" | mert-tensor stat | awk -v want="$2" 'NR == 2 { found = $6 } END { exit !(found == want) }'; }
check "chroma: each frame's largest is 1" largest "$t/a.mts" 1
head -c 40000 /dev/zero | npy '<f4' 10000, > "$t/silence.npy"
pcm 24000 silence "$t/silence.npy" > "$t/silence.mts"
check "chroma: silence is all zeros" largest "$t/silence.mts" 0
short() { printf '\000\000\000\077' | npy '<f4' 1, > "$t/short.npy" && pcm 24000 s "$t/short.npy" | mert-cqt | mert-tensor ls | grep -qF '[1,336]'; }
check "cqt: one sample gives one frame" short

# ---- refusals ----

fails() { name=$1 pattern=$2 command=$3; check_fails "$name" 1 "$pattern" sh -c "$command > $t/refused.mts"; }
fails "cqt: the preset refuses 16 kHz, both rates named" 'a: sample rate is 16000 Hz, this preset needs 24000 Hz' "mert-cqt $t/a16.mts"
check "cqt: settings named take any rate" lists '[126,336]' mert-cqt --bins 336 "$t/a16.mts"
fails "cqt: a top bin above Nyquist" 'a: the top bin .* 9955.1 Hz.*16000 Hz' "mert-cqt --bins 100 --bins-per-octave 12 $t/a16.mts"
tail -c 16 "$t/f32.npy" | npy '<f4' '2, 2' > "$t/stereo.npy"
npy '<f4' 0, < /dev/null > "$t/empty.npy"
{ tail -c 16 "$t/f32.npy"; printf '\000\000\300\177\000\000\000\000'; } | npy '<f4' 6, > "$t/nan.npy"
for what in stereo empty nan; do pcm 24000 $what "$t/$what.npy" > "$t/$what.mts"; done
for program in mert-cqt mert-mel; do
    fails "$program: two channels" 'stereo: 2 channels' "$program $t/stereo.mts"
    fails "$program: no samples" 'empty: no samples' "$program $t/empty.mts"
    fails "$program: a sample that is not a number, by its position" 'nan: sample 4 is -?nan' "$program $t/nan.mts"
    fails "$program: something else than pcm" 'a: the input is cqt' "$program $t/cqt.mts"
    others() { $program "$t/nan.mts" "$t/a.mts" > "$t/both.mts" 2> /dev/null; [ $? = 1 ] && mert-tensor ls "$t/both.mts" | grep -qF '[151,'; }
    check "$program: the others go on" others
done
fails "mel: shorter than one MFCC window" 'a: 4 samples are shorter' "mert-tensor from-npy --kind pcm --rate 16000 --key a $t/f32.npy | mert-mel --mfcc"
check_fails "cqt: chroma of complex numbers" 2 'chroma' mert-cqt --chroma 12 --form complex "$t/a.mts"
check_fails "cqt: crops that are no whole number of hops" 2 'per-crop' mert-cqt --per-crop 16001 "$t/a.mts"
check_fails "mel: power and log at once" 2 'exclude' mert-mel --power --log "$t/a.mts"

# ---- statistics ----

merged() {
    mert-mel --log --stats "$t/all.stats" "$t/a.mts" "$t/b.mts" > /dev/null && mert-mel --log --stats "$t/1.stats" "$t/a.mts" > /dev/null &&
        mert-mel --log --stats "$t/2.stats" "$t/b.mts" > /dev/null || return
    mert-mel --log --stats "$t/12.stats" --merge "$t/1.stats" --merge "$t/2.stats" &&
        mert-mel --log --stats "$t/21.stats" --merge "$t/2.stats" "$t/a.mts" > /dev/null || return
    cmp "$t/all.stats" "$t/12.stats" && cmp "$t/all.stats" "$t/21.stats" && ! cmp -s "$t/all.stats" "$t/1.stats"
}
check "statistics of shards merge to the same bytes" merged
merged_in_a_pipe() { # what comes through the pipe is not passed over
    mert-mel --log --stats "$t/piped.stats" --merge "$t/2.stats" < "$t/a.mts" | mert-tensor check && cmp "$t/piped.stats" "$t/21.stats"
}
check "statistics merge with what comes through a pipe" merged_in_a_pipe
normal() {
    mert-mel --log --normalize-with "$t/1.stats" "$t/a.mts" | mert-tensor stat |
        awk 'NR == 2 { found = ($7 < 1e-4 && $7 > -1e-4 && $8 > 0.999 && $8 < 1.001) } END { exit !found }'
}
check "normalised with its own statistics: mean 0, deviation 1" normal
parts() {
    for i in 1 2; do mert-mel --log --normalize-with "$t/$i.stats" --normalize-with "$t/$((3 - i)).stats" "$t/a.mts" | zstd -dcq > "$t/n$i.raw"; done
    mert-mel --log --normalize-with "$t/all.stats" "$t/a.mts" | zstd -dcq | cmp - "$t/n1.raw" && cmp "$t/n1.raw" "$t/n2.raw"
}
check "several statistics together are as their sum" parts
check_fails "statistics of other features" 1 '1.stats: statistics of .*log.* power' mert-mel --normalize-with "$t/1.stats" "$t/a.mts"
slower() { { mert-mel --log --stats "$t/no.stats" "$t/a.mts" "$t/a16.mts"; echo $?; } 2>&1 > /dev/null | grep -q "the input is '.*rate=16000'.*rate=24000'"; }
check "statistics of another sample rate" slower
head -c 300 "$t/1.stats" > "$t/cut.stats"
check_fails "statistics cut short" 1 'cut.stats: dimension' mert-mel --log --normalize-with "$t/cut.stats" "$t/a.mts"
failed_items() { mert-mel --log --stats "$t/nan.stats" "$t/nan.mts" "$t/a.mts" > /dev/null 2>&1; [ $? = 1 ] && cmp "$t/nan.stats" "$t/1.stats"; }
check "items that failed do not count" failed_items
