# mert-encode --precision bf16 and int8: the error against the reference, the same bytes however it is run, packed
# models, refusals.
. tests/shell
t=$TEST_TMP
pcm() { mert-tensor from-npy --kind pcm --rate "$1" --key "$3" "$2"; }

for m in mert-post-ln mert-pre-ln mert-layernorm-extractor mert-deepnorm mert-cqt-input; do
    rate=24000; [ $m = mert-cqt-input ] && rate=16000
    reference() { # $1 device; and float32 it is not
        pcm $rate "$golden/$m/audio.npy" a | mert-encode -m "$golden/$m" --precision bf16 --device "$1" |
            mert-tensor to-npy -o "$t/hidden.npy" &&
            hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy" 2e-2 &&
            ! hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy" 1e-3
    }
    check "$m: all layers within 2e-2 of the reference's maximum" reference cpu
    check "$m: on the guard backend, too" reference guard
done

m=$golden/mert-post-ln
pcm 24000 "$golden/mert-post-ln/audio.npy" a > "$t/a.mts"
pcm 24000 "$golden/mert-pre-ln/audio.npy" b > "$t/b.mts"
encode() { mert-encode -m "$m" --precision bf16 "$@" | zstd -dcq; }
encode "$t/a.mts" > "$t/ab.raw"
encode "$t/b.mts" >> "$t/ab.raw"
together() { encode --threads "$1" "$t/a.mts" "$t/b.mts" | cmp - "$t/ab.raw"; }
check "items together give the bytes of items alone, one thread" together 1
check "and three threads" together 3
windows() {
    encode --window 32/75 --hop 20/75 --pool mean --threads "$1" "$t/b.mts" > "$t/w$1.raw" && [ -s "$t/w$1.raw" ]
}
in_windows() { windows 1 && windows 3 && cmp "$t/w1.raw" "$t/w3.raw"; }
check "in windows, pooled, on one thread or three" in_windows
tiles() { MERT_ISA=avx512 encode "$t/a.mts" "$t/b.mts" | cmp - "$t/ab.raw"; } # where there is no AVX-512, trivially
check "with matrix tiles or without: the same bytes" tiles
lesser() {
    MERT_ISA=generic mert-encode -m "$m" --precision bf16 "$t/a.mts" | mert-tensor to-npy -o "$t/hidden.npy" &&
        hidden-near "$t/hidden.npy" "$m/hidden.npy" 2e-2
}
check "on the least of processors as near" lesser

recorded() {
    mert-encode -m "$m" --precision bf16 "$t/a.mts" | strings | grep -q 'normalize=no precision=bf16' &&
        mert-encode -m "$m" --precision f32 "$t/a.mts" > "$t/named.mts" &&
        mert-encode -m "$m" "$t/a.mts" | cmp - "$t/named.mts" &&
        ! strings "$t/named.mts" | grep -q precision
}
check "the stream says so, and of float32 nothing" recorded

# ---- packed ----

packs() {
    mert-model convert --to packed -m "$m" -o "$t/p32" &&
        mert-model convert --to packed --precision bf16 -m "$m" -o "$t/p16" &&
        mert-model verify "$t/p16" | grep -q ': sound: .*, its known answer within 0' &&
        [ "$(wc -c < "$t/p16/model.safetensors")" -lt $(($(wc -c < "$t/p32/model.safetensors") * 7 / 10)) ]
}
check "packed for it: half the products' weights" packs
cut_short() { # the packed weights are read where they are mapped
    cp -r "$t/p32" "$t/cut" && mkfifo "$t/open" || return
    mert-encode -m "$t/cut" "$t/open" > "$t/x" & pid=$!
    exec 7> "$t/open"
    head -c 500 "$t/a.mts" >&7 # it has opened the model by the time that it reads this
    i=0 # it waits for more of the stream: all that it does before is done
    while ! cat /proc/$pid/task/*/wchan 2> "$t/err" | grep -q pipe && [ $i -lt 600 ]; do sleep 0.02; i=$((i + 1)); done
    truncate -s 4096 "$t/cut/model.safetensors"
    tail -c +501 "$t/a.mts" >&7
    exec 7>&-
    wait $pid
}
if [ -n "${MERT_SANITIZED:-}" ]; then skip "a packed model that is cut short while it is in use" "a sanitizer catches the signal itself"
else check_fails "a packed model that is cut short while it is in use" 1 'mert-encode: bus error: was a file cut short' cut_short; fi
from_packed() { mert-encode -m "$t/p16" --precision bf16 "$t/a.mts" "$t/b.mts" | zstd -dcq | cmp - "$t/ab.raw"; }
check "the same bytes" from_packed
check_fails "packed for bf16, asked for f32" 1 'p16: packed for products in bf16, and f32 is asked for .--precision.' \
    sh -c "mert-encode -m $t/p16 $t/a.mts > /dev/null"
check_fails "packed for f32, asked for bf16" 1 'p32: packed for products in f32, and bf16 is asked for .--precision.' \
    sh -c "mert-encode -m $t/p32 --precision bf16 $t/a.mts > /dev/null"
cp -r "$t/p16" "$t/later"
sed 's/"precision": "bf16"/"precision": "fp4"/; s/{/{"mert_edited": true,/' "$t/p16/config.json" > "$t/later/config.json"
check_fails "packed for what is not known here" 1 'later: packed for a precision that this version does not know' \
    sh -c "mert-encode -m $t/later --precision bf16 $t/a.mts > /dev/null"
check_fails "another layout has no precision" 2 '--precision is for --to packed' \
    mert-model convert --to hf --precision bf16 -m "$m" -o "$t/hf"

# ---- 8-bit integers ----

for m in mert-post-ln mert-pre-ln mert-layernorm-extractor mert-deepnorm mert-cqt-input mert2-small; do
    rate=24000; [ $m = mert-cqt-input ] && rate=16000
    integers() { # $1 device; and bfloat16 it is not
        pcm $rate "$golden/$m/audio.npy" a | mert-encode -m "$golden/$m" --precision int8 --device "$1" |
            mert-tensor to-npy -o "$t/hidden.npy" &&
            hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy" 8e-2 &&
            ! hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy" 1e-2
    }
    check "int8, $m: all layers within 8e-2 of the reference's maximum" integers cpu
done
check "int8 on the guard backend, too" integers guard
m=$golden/mert-post-ln
whole_numbers() { mert-encode -m "$m" --precision int8 "$@" | zstd -dcq; }
whole_numbers "$t/a.mts" > "$t/ab8.raw"
whole_numbers "$t/b.mts" >> "$t/ab8.raw"
with_others() { whole_numbers --threads "$1" "$t/a.mts" "$t/b.mts" | cmp - "$t/ab8.raw" && ! cmp -s "$t/ab.raw" "$t/ab8.raw"; }
check "int8, items together give the bytes of items alone, one thread" with_others 1
check "and three threads" with_others 3
packs_integers() {
    mert-model convert --to packed --precision int8 -m "$m" -o "$t/p8" && mert-model verify "$t/p8" | grep -q ': sound: .*, its known answer within 0' &&
        MERT_ISA=generic mert-model verify "$t/p8" | grep -q ': sound: ' && [ "$(wc -c < "$t/p8/model.safetensors")" -lt "$(wc -c < "$t/p32/model.safetensors")" ] &&
        mert-encode -m "$t/p8" --precision int8 "$t/a.mts" "$t/b.mts" | zstd -dcq | cmp - "$t/ab8.raw"
}
check "packed for it: smaller, sound, and the same bytes" packs_integers
check_fails "packed for int8, asked for f32" 1 'p8: packed for products in int8, and f32 is asked for .--precision.' \
    sh -c "mert-encode -m $t/p8 $t/a.mts > /dev/null"
check_fails "packed for bf16, asked for int8" 1 'p16: packed for products in bf16, and int8 is asked for .--precision.' \
    sh -c "mert-encode -m $t/p16 --precision int8 $t/a.mts > /dev/null"
says_so() { strings "$t/int8.mts" | grep -q 'precision=int8'; }
mert-encode -m "$m" --precision int8 "$t/a.mts" > "$t/int8.mts"
check "the stream says int8" says_so
check_fails "no such precision" 2 'precision.*fp8' sh -c "mert-encode -m $m --precision fp8 $t/a.mts > /dev/null"
