# mert-kmeans through real pipes: the reference's labels, models that do not depend on threads or order, label files,
# and refusals.
. tests/shell
t=$TEST_TMP
k=$golden/kmeans
features() { mert-tensor from-npy --allow-nonfinite --kind "${kind:-mfcc}" --rate "${rate:-16000}" --frame-rate "${frame_rate:-16000/160}" "$@"; }
npy() { # SHAPE: float32 from stdin
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($1), }"; cat
}
features "$k/features.npy" "$k/centroids.npy" > "$t/two.mts"
features --key "$k/features.npy" "$k/features.npy" > "$t/one.mts"

# ---- assign ----

same_labels() {
    mert-tensor from-npy --kind codes --rate 16000 --frame-rate 16000/160 "$k/labels.npy" > "$t/reference.mts" &&
        mert-kmeans assign -m "$k/centroids.npy" "$t/one.mts" | mert-tensor cmp - "$t/reference.mts"
}
check "labels equal the reference's" same_labels

# ---- train ----

train() { mert-kmeans train -k 40 --seed 5 --n-init 5 --max-iter 10 -o "$@"; }
threads() { train "$t/a.safetensors" --threads 1 "$t/two.mts" && train "$t/b.safetensors" --threads 3 "$t/two.mts" && cmp "$t/a.safetensors" "$t/b.safetensors"; }
check "the model does not depend on the number of threads" threads
in_parts() { # a pipe, and files in two orders: the same items
    train "$t/b.safetensors" < "$t/two.mts" && cmp "$t/a.safetensors" "$t/b.safetensors" || return
    features --key x "$k/centroids.npy" > "$t/x.mts"
    train "$t/c.safetensors" "$t/one.mts" "$t/x.mts" && train "$t/d.safetensors" "$t/x.mts" "$t/one.mts" &&
        cmp "$t/c.safetensors" "$t/d.safetensors"
}
check "nor on the order of the items" in_parts
sampled() {
    train "$t/e.safetensors" --max-frames 500 "$t/one.mts" "$t/x.mts" && train "$t/f.safetensors" --max-frames 500 "$t/x.mts" "$t/one.mts" &&
        cmp "$t/e.safetensors" "$t/f.safetensors" && ! cmp -s "$t/c.safetensors" "$t/e.safetensors"
}
check "nor is the sample that --max-frames leaves" sampled
seeded() { mert-kmeans train -k 40 --seed 6 --n-init 5 --max-iter 10 -o "$t/b.safetensors" "$t/two.mts" && ! cmp -s "$t/a.safetensors" "$t/b.safetensors"; }
check "another seed gives another model" seeded
inertia() { # of --lloyd 50, as -v says it, against scikit-learn's
    mert-kmeans train -v -k 40 --seed 2 --lloyd 50 -o "$t/g.safetensors" "$t/one.mts" 2> "$t/log" || return
    sed -n 's/.* inertia \([0-9.]*\),.*/\1/p' "$t/log" | awk '{ exit !($1 > 0 && $1 < 1.01 * 126726.875) }'
}
check "inertia within 1% of the reference's" inertia

# ---- labels beside the codes ----

label_files() {
    mert-kmeans assign -m "$t/a.safetensors" --labels "$t/train.km" "$t/two.mts" > "$t/codes.mts" || return
    mert-tensor text --no-heads "$t/codes.mts" | cmp - "$t/train.km" && [ "$(wc -l < "$t/train.km")" -eq 2 ] &&
        grep -qx 'classes=40' "$t/train.km.meta" && grep -qx 'frame_rate=16000/160' "$t/train.km.meta"
}
check "--labels writes what the codes say" label_files
ended() { # while its input is still open: the label file is on its way, and goes
    mkfifo "$t/open" && mkdir "$t/ended" || return
    mert-kmeans assign -m "$t/a.safetensors" --labels "$t/ended/x.km" "$t/open" > "$t/ended.mts" &
    pid=$!
    exec 7> "$t/open"
    cat "$t/one.mts" >&7
    i=0
    while ! ls "$t/ended" | grep -q tmp && [ $i -lt 6000 ] && kill -0 $pid; do sleep 0.05; i=$((i + 1)); done
    ls "$t/ended" | grep -q tmp && kill -TERM $pid
    wait $pid
    rc=$?
    exec 7>&-
    [ $rc -eq 143 ] && [ -z "$(ls "$t/ended")" ]
}
check "whoever is ended leaves no file on its way" ended
alone() { # one item alone, the same item behind another, one thread or three
    mert-kmeans assign -m "$t/a.safetensors" --threads 3 "$t/x.mts" | mert-tensor text --no-heads > "$t/x.txt" &&
        tail -n 1 "$t/train.km" | cmp - "$t/x.txt"
}
check "codes of an item are the same alone" alone
{ head -c 1200 < /dev/zero; printf '\000\000\300\177'; head -c 1196 < /dev/zero; } | npy '50, 12' > "$t/nan.npy"
features "$t/nan.npy" "$k/centroids.npy" > "$t/bad.mts"
check_fails "NaN is an item that failed, by frame" 1 'nan.npy: frame 25 holds a NaN' \
    sh -c "mert-kmeans assign -m $t/a.safetensors --labels $t/bad.km $t/bad.mts > $t/out.mts"
failed_line() {
    [ "$(wc -l < "$t/bad.km")" -eq 2 ] && [ -z "$(head -n 1 "$t/bad.km")" ] && tail -n 1 "$t/bad.km" | cmp - "$t/x.txt" &&
        grep -qx 'failed_rows=1' "$t/bad.km.meta"
}
check "its line in the labels is empty, the others are there" failed_line
check_fails "training leaves it out and says so" 1 'nan.npy: frame 25 holds a NaN' mert-kmeans train -k 3 -o "$t/n.safetensors" "$t/bad.mts"

head -c 30000 "$t/two.mts" > "$t/cut.mts"
check_fails "a stream that stops is an error" 1 'cut.mts' sh -c "mert-kmeans assign -m $t/a.safetensors --labels $t/cut.km $t/cut.mts > $t/out.mts"
no_half_files() { [ ! -e "$t/cut.km" ] && [ ! -e "$t/cut.km.meta" ] && ! ls "$t" | grep 'cut.km'; }
check "and leaves no label files" no_half_files
check_fails "an item that comes twice is not counted twice" 1 'came before: the inputs must not hold an item twice' mert-kmeans train -k 3 --seed 5 -o "$t/twice.safetensors" "$t/one.mts" "$t/one.mts"
once() { mert-kmeans train -k 3 --seed 5 -o "$t/once.safetensors" "$t/one.mts" && mert-kmeans train -q --max-failed 50% -k 3 --seed 5 -o "$t/twice.safetensors" "$t/one.mts" "$t/one.mts" 2> "$t/log" && cmp "$t/once.safetensors" "$t/twice.safetensors"; }
check "what stays is the sample of the items alone" once
check_fails "nor a model" 1 'cut.mts' mert-kmeans train -k 3 -o "$t/cut.safetensors" "$t/cut.mts"
check "(none)" [ ! -e "$t/cut.safetensors" ]

# ---- refusals ----

refused() { # NAME PATTERN: assign of $t/odd.mts
    check_fails "$1" 1 "$2" sh -c "mert-kmeans assign -m $t/a.safetensors $t/odd.mts > $t/out.mts"
}
head -c 400 /dev/zero | npy '10, 10' > "$t/ten.npy"
features "$t/ten.npy" > "$t/odd.mts"
refused "features of another width" '10 values.*this codebook is for 12'
kind=mel features "$k/centroids.npy" > "$t/odd.mts"
refused "features of another kind" 'features are mel, this codebook is for mfcc'
rate=24000 features "$k/centroids.npy" > "$t/odd.mts"
refused "features of audio at another rate" '24000 Hz, this codebook is for 16000 Hz'
frame_rate=50 features "$k/centroids.npy" > "$t/odd.mts"
refused "features at another frame rate" '50/1 frames per second, this codebook is for 16000/160'
mert-tensor from-npy --kind pcm --rate 16000 "$t/ten.npy" > "$t/odd.mts"
refused "pcm" 'needs features .*got pcm'
refused_codes() { mert-kmeans assign -m "$t/a.safetensors" "$t/codes.mts" > "$t/out.mts" 2> "$t/err2"; [ $? -eq 1 ] && grep -q 'got codes' "$t/err2"; }
check "codes" refused_codes
check_fails "more clusters than frames" 1 '41 clusters need at least as many frames, but 40 came in' mert-kmeans train -k 41 -o "$t/n.safetensors" "$t/x.mts"
features "$t/ten.npy" "$k/centroids.npy" > "$t/mixed.mts"
check_fails "items that differ" 1 'centroids.npy: frames have 12 values' mert-kmeans train -k 1 -o "$t/n.safetensors" "$t/mixed.mts"
LC_ALL=C sed 's/"codebooks.0"/"codebooks.7"/; s/"mert_xxh64":"[0-9a-f]*"/"mert_xxh64":"0000000000000000"/' "$t/a.safetensors" > "$t/lacks.safetensors"
check_fails "a model that lacks its tensor" 1 'lacks.safetensors: tensor codebooks.0 is missing' sh -c "mert-kmeans assign -m $t/lacks.safetensors $t/x.mts > $t/out.mts"
LC_ALL=C sed 's/"codebooks.0"/"codebooks.7"/' "$t/a.safetensors" > "$t/changed.safetensors"
check_fails "one that is not what its checksum says" 1 'changed.safetensors: the checksum does not fit' sh -c "mert-kmeans assign -m $t/changed.safetensors $t/x.mts > $t/out.mts"
check_fails "a model that is not there" 1 'none.safetensors' sh -c "mert-kmeans assign -m $t/none.safetensors $t/x.mts > $t/out.mts"
check_fails "no -k is wrong use" 2 '-k K is needed' mert-kmeans train -o "$t/n.safetensors" "$t/x.mts"
check_fails "a full disk" 1 'No space' sh -c "mert-kmeans assign -m $t/a.safetensors --labels $t/full.km $t/two.mts > /dev/full"
check "leaves no labels, either" [ ! -e "$t/full.km" ]
