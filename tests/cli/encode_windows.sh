# mert-encode: windows, weighted sums and pooling over spans, compared with their definitions; the same bytes however
# they are run.
. tests/shell
t=$TEST_TMP
m=$golden/mert-post-ln
row=$((4 * 48 * 4)) # bytes of a frame: layers, width, f32
npy() { # raw floats on stdin -> .npy
    cat > "$t/npy.raw"
    printf '\223NUMPY\001\000\166\000'
    printf "%-117s\n" "{'descr': '<f4', 'fortran_order': False, 'shape': ($(($(wc -c < "$t/npy.raw") / 4)),), }"
    cat "$t/npy.raw"
}
clip() { npy > "$t/clip.npy" && mert-tensor from-npy --allow-nonfinite --kind pcm --rate "${rate:-24000}" --key "$1" "$t/clip.npy"; }
samples() { tail -c +$((4 * $1 + 1)) "$t/pcm.raw" | head -c $((4 * $2)); } # FROM N
encode() { mert-encode -m "$m" "$@"; }
raw() { encode "$@" | zstd -dcq; }
ls_has() { ls_of "$@" "$t/a.mts" | grep -qE -- "$pattern"; }
ls_of() { encode "$@" | mert-tensor ls | cut -f 3-; }

mert-tensor from-npy --kind pcm --rate 24000 --key a "$m/audio.npy" > "$t/a.mts" # 1 s: 74 frames
# 30011 samples: 93 frames
mert-tensor from-npy --kind pcm --rate 24000 --key b "$golden/mert-pre-ln/audio.npy" > "$t/b.mts"
zstd -dcq "$t/b.mts" > "$t/pcm.raw"
encode "$t/a.mts" "$t/b.mts" | zstd -dcq > "$t/whole.raw"
raw "$t/b.mts" > "$t/b.raw"

# ---- windows ----

# Windows of 32 frames, 20 apart, of 93: at 0, 20, 40, 60, and the last, at 61, ends with the clip. As clips:
for first in 0 20 40 60 61; do
    samples $((320 * first)) $((31 * 320 + 400)) | clip w | encode | zstd -dcq > "$t/w$first.raw"
done
rows() { tail -c +$((row * ($2 - $1) + 1)) "$t/w$1.raw" | head -c $((row * ($3 - $2))); } # WINDOW FROM TO
centre() { # shared: 20-31, 40-51, 60-71 (12), then 61-91 (31: 16 and 15)
    { rows 0 0 26; rows 20 26 46; rows 40 46 66; rows 60 66 77; rows 61 77 93; } > "$t/want.raw"
    raw --window 32/75 --hop 20/75 "$@" "$t/b.mts" > "$t/got.raw" && [ "$(wc -c < "$t/got.raw")" -eq $((93 * row)) ] &&
        cmp "$t/want.raw" "$t/got.raw"
}
check "windows are clips of their own, cut in the centre of what they share" centre
check "in one thread" centre --threads 1
check "on the guard backend" centre --device guard
floats() { od -An -v -tf4 -w4 "$1"; }
faded() { # the first frames, by the formula: window 0 alone, then 12 shared with window 20
    raw --window 32/75 --hop 20/75 --join fade "$t/b.mts" > "$t/fade.raw" &&
        [ "$(wc -c < "$t/fade.raw")" -eq $((93 * row)) ] &&
        { rows 0 0 20; rows 0 20 32; } > "$t/early" && { rows 0 0 20; rows 20 20 32; } > "$t/late" &&
            head -c $((32 * row)) "$t/fade.raw" > "$t/got" &&
        floats "$t/early" > "$t/x" && floats "$t/late" > "$t/y" && floats "$t/got" | paste "$t/x" "$t/y" - |
        awk '{ f = int((NR - 1) / 192); a = f < 20 ? 1 : (f - 19) / 13; e = (1 - a) * $1 + a * $2 - $3;
               if (e > 1e-5 || e < -1e-5) { print NR, $0; exit 1 } }'
}
check "cross-fades are linear" faded
one_window() { raw --window 2 "$t/a.mts" "$t/b.mts" > "$t/got.raw" && cmp "$t/whole.raw" "$t/got.raw"; }
check "a clip that fits one window gives the answer of the whole" one_window
edge() { # exactly a window's frames, with and without samples behind the last frame
    for n in 30000 30011; do
        samples 0 $n | clip e > "$t/e.mts"
        raw "$t/e.mts" > "$t/want.raw" && raw --window 93/75 "$t/e.mts" > "$t/got.raw" &&
            cmp "$t/want.raw" "$t/got.raw" || return
    done
}
check "even to the last sample" edge
together() {
    raw --window 1/3 "$t/a.mts" > "$t/want.raw" && raw --window 1/3 "$t/b.mts" >> "$t/want.raw" &&
        raw --window 1/3 --threads "$1" "$t/a.mts" "$t/b.mts" | cmp - "$t/want.raw"
}
check "items together give the bytes of items alone" together 3
check "one thread" together 1
recorded() { encode --window 0.32 --hop 12/75 "$@" "$t/b.mts" | strings | grep -q "$pattern"; }
pattern='normalize=no window=8/25 hop=4/25 join=fade'; check "windows are written into the stream" recorded --join fade
pattern='normalize=window window=8/25 hop=4/25 join=centre'
check "and that each is normalised by itself" recorded --normalize
normalised() {
    samples 0 $((31 * 320 + 400)) | clip n | raw --normalize > "$t/want.raw" &&
        raw --normalize --window 32/75 "$t/b.mts" | head -c $((16 * row)) > "$t/got.raw" &&
            head -c $((16 * row)) "$t/want.raw" | cmp - "$t/got.raw"
}
check "as it is" normalised

# The second of three items fails after some of its windows were computed: the others are complete and in order.
broken() {
    { samples 0 25000; printf '\000\000\300\177'; samples 0 4000; } | clip bad > "$t/bad.mts"
    { encode --threads "$1" --window 1/3 "$t/a.mts" "$t/bad.mts" "$t/b.mts" > "$t/out.mts";
        echo $? > "$t/status"; } 2> "$t/err"
    mert-tensor ls "$t/out.mts" > "$t/ls" 2> "$t/err2"
    [ "$(cat "$t/status")" = 1 ] && grep -q 'bad: sample 25000 is not a finite number' "$t/err" &&
        [ "$(grep hidden "$t/ls" | cut -f 2,5 | tr '\t\n' '  ')" = 'a [74,4,48] b [93,4,48] ' ]
}
check "an item that fails in its middle takes nothing with it" broken 3
check "in one thread, too" broken 1
memory() { # of sixteen times the length
    samples 0 24000 > "$t/s" && for i in 1 2 3 4 5 6 7 8; do cat "$t/s"; done > "$t/s8"
    clip s < "$t/s8" > "$t/short.mts"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do cat "$t/s8"; done | clip l > "$t/long.mts"
    peak() { encode --window 1 --hop 3/5 --pool mean --span 1 -v "$1" 2>&1 > "$t/out.mts" |
        sed -n 's/.*peak \([0-9]*\).*/\1/p'; }
    short=$(peak "$t/short.mts"); long=$(peak "$t/long.mts"); echo "$short MB, $long MB"
    [ "$short" -gt 0 ] && [ "$long" -le $((short + 8 + short / 8)) ]
}
if [ -n "${MERT_SANITIZED:-}" ]; then skip "memory does not grow with the length" "sanitizers take more"
else check "memory does not grow with the length" memory; fi

# ---- pooling over spans ----

spans() { # 93 / 7.5: 12 whole ones, and a rest
    [ "$(ls_of --pool mean --span 0.1 "$t/b.mts")" = "hidden	f32	[13,4,48]	24000	10/1" ]
}
check "spans of 0.1 s are 10 per second, the last one what is left" spans
frame_each() { raw --pool max --span 1/75 "$t/b.mts" | cmp - "$t/b.raw"; }
check "spans of a frame are the frames" frame_each
long_span() {
    raw --pool mean "$t/b.mts" > "$t/want.raw" && [ "$(wc -c < "$t/want.raw")" -eq $row ] &&
        raw --pool mean --span 100 "$t/b.mts" | cmp - "$t/want.raw" &&
        raw --pool mean --window 100 "$t/b.mts" | cmp - "$t/want.raw"
}
check "one span is the whole item, in one window, too" long_span
means() { # span 2 of 10 frames, against frames 20 to 29
    raw --pool mean --span 10/75 "$t/b.mts" | tail -c +$((2 * row + 1)) | head -c $row > "$t/span" &&
        floats "$t/span" > "$t/x" &&
        tail -c +$((20 * row + 1)) "$t/b.raw" | head -c $((10 * row)) > "$t/ten" && floats "$t/ten" |
        awk -v n=192 '{ s[(NR - 1) % n] += $1 } END { for (i = 0; i < n; i++) print s[i] / 10 }' | paste "$t/x" - |
        awk '{ e = $1 - $2; if (e > 1e-5 || e < -1e-5) { print NR, $0; exit 1 } n++ } END { if (n != 192) exit 1 }'
}
check "a span's mean is its frames' mean" means
windowed_spans() { # pooled as it comes, or afterwards
    for how in centre fade; do
        raw --window 1/3 --hop 20/75 --join $how --pool max --span 1/75 "$t/b.mts" > "$t/got.raw" &&
            raw --window 1/3 --hop 20/75 --join $how "$t/b.mts" | cmp - "$t/got.raw" || return
    done
}
check "windows are pooled when they are joined" windowed_spans
halves() {
    for type in f16 bf16; do
        shape=$(ls_of --dtype $type --pool mean --span 0.2 --window 1/3 "$t/b.mts")
        [ "$shape" = "hidden	$type	[7,4,48]	24000	5/1" ] || return
    done
    raw --dtype bf16 --pool max --span 1/75 "$t/b.mts" > "$t/want.raw" && raw --dtype bf16 "$t/b.mts" |
        cmp - "$t/want.raw"
}
check "half precision of pooled windows" halves

# ---- weighted sums ----

weighted() {
    raw --layers 0,2,3 "$t/b.mts" > "$t/three" && raw --layers 0,2,3 --weights 0.5,-0.25,2 "$t/b.mts" > "$t/sum" &&
        [ "$(wc -c < "$t/sum")" -eq $((93 * 48 * 4)) ] && floats "$t/sum" > "$t/x" && floats "$t/three" |
        awk '{ i = NR - 1; d = i % 48; l = int(i / 48) % 3; s[d] += $1 * (l == 0 ? 0.5 : l == 1 ? -0.25 : 2);
               if (l == 2) { print s[d]; s[d] = 0 } }' | paste "$t/x" - |
        awk '{ e = $1 - $2; if (e > 1e-5 || e < -1e-5) { print NR, $0; exit 1 } }'
}
check "layers are summed with the weights as they are" weighted
one_layer() { raw --weights 0,0,1,0 "$t/b.mts" > "$t/got.raw" && raw --layers 2 "$t/b.mts" | cmp - "$t/got.raw"; }
check "one weight alone is that layer" one_layer
from_file() {
    printf '0.5 -0.25\n2\n' > "$t/weights" && raw --layers 0,2,3 --weights "$t/weights" --device guard "$t/b.mts" |
        cmp - "$t/sum"
}
check "weights from a file, on the guard backend" from_file
pattern='layers=0,2,3 weights=0.5,-0.25,2 pool=none'
says_weights() { encode --layers 0,2,3 --weights "$t/weights" "$t/b.mts" | strings | grep -q "$pattern"; }
check "weights are written into the stream" says_weights
pooled_sum() {
    [ "$(ls_of --weights 1,1,1,1 --pool mean "$t/b.mts")" = "hidden	f32	[1,1,48]	24000	0/1" ] &&
        raw --weights 0,0,1,0 --pool mean --span 0.1 "$t/b.mts" > "$t/got.raw" &&
            raw --layers 2 --pool mean --span 0.1 "$t/b.mts" | cmp - "$t/got.raw"
}
check "sums are pooled, too" pooled_sum

# ---- wrong use ----

wrong() { name=$1 pattern=$2; shift 2; check_fails "$name" 2 "$pattern" mert-encode -m "$m" "$@" "$t/b.mts"; }
wrong "windows with gaps" 'hop.*gaps' --window 1/3 --hop 2/3
wrong "a window between frames" 'window: 0.1 seconds.*24000/320' --window 0.1
wrong "a hop without windows" 'window' --hop 1/3
wrong "a join without windows" 'window' --join fade
wrong "a length of time that is none" "span: '1s' is no length" --pool mean --span 1s
wrong "a span of less than a frame" 'span: 0.01 seconds.*24000/320' --pool mean --span 0.01
wrong "a span of what" 'pool' --span 1
wrong "too few weights" 'weights: 2 numbers for 4 layers' --weights 1,2
wrong "weights that are none" 'weights: .*no-such-file' --weights "$t/no-such-file"

# ---- several statistics ----

several() { # LIST ARGS: what each of the list alone gives, layer by layer
    list=$1; shift
    mert-encode -m "$m" --pool "$list" "$@" "$t/a.mts" "$t/b.mts" | mert-tensor text --no-heads > "$t/several.txt" || return
    for how in $(echo "$list" | tr , ' '); do mert-encode -m "$m" --pool "$how" "$@" "$t/a.mts" "$t/b.mts" | mert-tensor text --no-heads | tr ' ' '\n' > "$t/$how.txt"; done
    awk -v list="$list" -v D=48 -v dir="$t" 'BEGIN { n = split(list, how, ",")
        while ((getline x < (dir "/" how[1] ".txt")) > 0) { v[1, rows++] = x }
        for (k = 2; k <= n; k++) for (i = 0; (getline x < (dir "/" how[k] ".txt")) > 0; i++) v[k, i] = x
        for (from = 0; from < rows; from += D) for (k = 1; k <= n; k++) for (d = from; d < from + D; d++) print v[k, d] }' > "$t/want.txt"
    tr ' ' '\n' < "$t/several.txt" | cmp - "$t/want.txt"
}
check "mean and deviation of each layer, side by side" several mean,std
check "in the order that was given" several max,std,mean --span 0.2
check "of windows, too" several std,mean --window 32/75
pattern='[[]1,2,96[]]'
check "of chosen layers" ls_has --layers 1-2 --pool mean,std
pattern='[[]1,1,96[]]'
check "of a weighted sum" ls_has --weights 0.5,0.5,0,0 --pool std,max
via() { mert-encode -m "$m" --layers 1-2 --pool mean,std "$t/a.mts" | mert-tensor ls -l | grep -q 'layers=1,2 pool=mean,std '; }
check "the provenance has them" via
check_fails "one twice" 2 '--pool: mean is there twice' mert-encode -m "$m" --pool mean,mean "$t/a.mts"
check_fails "one that there is not" 2 "--pool: 'median' is neither" mert-encode -m "$m" --pool median "$t/a.mts"
