# Training one model by many jobs: mert-kmeans accumulate and merge give the bytes of `train --lloyd`, for every
# division of the corpus.
. tests/shell
t=$TEST_TMP
mkdir -p "$t/music" "$t/data"
for i in 1 2 3 4 5 6 7; do
    ffmpeg -nostdin -v error -f lavfi -i "sine=$((110 * i)):d=0.$((i + 2)),volume=2[a];anoisesrc=d=0.$((i + 2)):a=0.05:seed=$i[b];[a][b]amix" \
        -ac 1 "$t/music/$i.wav" || exit 1
done
mert-manifest --out "$t/data" --valid-percent 0 --rate 16000 "$t/music"
mfcc() { mert-decode --rate 16000 --manifest "$t/data/train.tsv" "$@" | mert-mel --mfcc; }
for n in 1 3 7; do
    for r in $(seq 0 $((n - 1))); do mfcc --shard $r/$n > "$t/$r-of-$n.mts"; done
done
whole=$t/0-of-1.mts
seeded() { mert-kmeans init -k 12 --seed 5 -o "$t/m0" "$whole" && mert-kmeans train -k 12 --seed 5 --max-iter 0 -o "$t/m" "$whole" && cmp "$t/m0" "$t/m"; }
check "init is train without iterations" seeded
frames() { mert-kmeans init -k 12 --seed 5 --init-samples "$1" -o "$t/m1" "$whole"; }
of_frames() { frames 30000 && cmp "$t/m0" "$t/m1" && frames 40 && ! cmp -s "$t/m0" "$t/m1"; }
check "--init-samples: the default by its number, and fewer" of_frames
mert-kmeans train -k 12 --seed 5 --max-iter 0 --lloyd 3 -o "$t/lloyd" "$whole"

# ---- any division, any order, any number of threads ----

iterate() { # N ORDER: three iterations over N shards
    cp "$t/m0" "$t/model"
    for i in 1 2 3; do
        seq 0 $(($1 - 1)) | xargs -P 2 -I R mert-kmeans accumulate --threads $i -m "$t/model" -o "$t/sums.R" "$t/R-of-$1.mts" || return
        set -- "$1" "$2" $(seq 0 $(($1 - 1)) | sort $2 | sed "s|^|$t/sums.|")
        n=$1 order=$2; shift 2
        mert-kmeans merge -o "$t/model" "$@" || return
        set -- "$n" "$order"
    done
    cmp "$t/model" "$t/lloyd"
}
check "one shard" iterate 1 -n
check "three shards" iterate 3 -n
check "seven shards" iterate 7 -n
check "seven shards, merged from the last" iterate 7 -rn
check "seven shards, merged in no order" iterate 7 -R
moved() { ! cmp -s "$t/m0" "$t/lloyd"; }
check "(the iterations did something)" moved

# Empty centroids are moved to far points, the same ones for every division.
npy() { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($1), }"; cat; }
{ head -c $((39 * 4)) /dev/zero; for v in 110 111 112; do for i in $(seq 39); do printf '\000\000\000\'$v; done; done; } | npy '4, 39' > "$t/far.npy"
empties() {
    mert-kmeans accumulate -m "$t/far.npy" -o "$t/sums" "$whole" && mert-kmeans merge -v -o "$t/a" "$t/sums" 2> "$t/log" &&
        grep -q '3 clusters empty, 3 of them moved' "$t/log" || return
    for r in 0 1 2 3 4 5 6; do mert-kmeans accumulate -m "$t/far.npy" -o "$t/sums.$r" "$t/$r-of-7.mts" || return; done
    mert-kmeans merge -o "$t/b" "$t"/sums.[0246] "$t"/sums.[135] && cmp "$t/a" "$t/b"
}
check "empty clusters go to the same far frames" empties

# ---- refusals ----

for r in 0 1 2; do mert-kmeans accumulate -m "$t/m0" -o "$t/s$r" "$t/$r-of-3.mts"; done
check_fails "a shard that is missing" 1 'row 2 of 7 is missing' mert-kmeans merge -o "$t/n" "$t/s0" "$t/s2"
check_fails "the last shard" 1 'row 5 of 7 is missing' mert-kmeans merge -o "$t/n" "$t/s1" "$t/s0"
check "unless that is asked for" mert-kmeans merge --partial -o "$t/part" "$t/s0" "$t/s2"
check_fails "a shard twice" 1 's0: row 0 came twice' mert-kmeans merge -o "$t/n" "$t/s0" "$t/s1" "$t/s2" "$t/s0"
check_fails "shards of two splits" 1 'sums: row 0 came twice' sh -c "mert-kmeans accumulate -m $t/m0 -o $t/sums $t/0-of-7.mts && mert-kmeans merge -o $t/n $t/s0 $t/s1 $t/s2 $t/sums"
mert-kmeans accumulate -m "$t/lloyd" -o "$t/other" "$t/2-of-3.mts"
check_fails "sums of another iteration" 1 'other: sums over model [0-9a-f]*, the others are over model' mert-kmeans merge -o "$t/n" "$t/s0" "$t/s1" "$t/other"
check_fails "sums as a model" 1 's0: holds the sums of a shard' sh -c "mert-kmeans assign -m $t/s0 $whole > $t/out"
check_fails "a model as sums" 1 'm0: is a codebook of kind kmeans, not sums' mert-kmeans merge -o "$t/n" "$t/m0"
LC_ALL=C sed 's/"sums.count"/"sums.counT"/; s/"mert_xxh64":"[0-9a-f]*"/"mert_xxh64":"0000000000000000"/' "$t/s0" > "$t/broken"
check_fails "sums that lack a tensor" 1 'broken: tensor sums.count is missing' mert-kmeans merge -o "$t/n" "$t/broken"
check_fails "fewer frames than clusters" 1 '60 clusters need at least as many frames, but [0-9]+ came in' \
    sh -c "mert-kmeans init -k 60 -o $t/m60 $whole && mert-kmeans accumulate -m $t/m60 -o $t/sums $t/0-of-7.mts && mert-kmeans merge --partial -o $t/n $t/sums"
head -c $((40 * 39 * 4)) /dev/zero | npy '40, 39' > "$t/constant.npy"
mert-tensor from-npy --kind mfcc --rate 16000 --frame-rate 16000/160 "$t/constant.npy" > "$t/constant.mts"
check_fails "features that are all the same" 1 'all 40 frames are the same' mert-kmeans train -k 3 -o "$t/n" "$t/constant.mts"
check_fails "a codebook that is all the same" 1 'constant.npy: all 40 codewords are the same' sh -c "mert-kmeans assign -m $t/constant.npy $whole > $t/out"
npy '0, 39' < /dev/null > "$t/empty.npy"
check_fails "an empty codebook" 1 'empty.npy: .*no codewords|empty.npy: centroids have the shape' sh -c "mert-kmeans assign -m $t/empty.npy $whole > $t/out"
check "none of these left a model" [ ! -e "$t/n" ]

# A shard with a failed item has the sums of the others, and reports the failure; all rows count as seen.
{ head -c $((39 * 4 * 20)) /dev/zero; printf '\000\000\300\177'; head -c $((39 * 4 - 4)) /dev/zero; } | npy '21, 39' > "$t/nan.npy"
mert-tensor from-npy --allow-nonfinite --kind mfcc --rate 16000 --frame-rate 16000/160 "$t/nan.npy" > "$t/nan.mts"
check_fails "NaN is an item that failed, by frame" 1 'nan.npy: frame 20 holds a NaN' mert-kmeans accumulate --any-settings -m "$t/m0" -o "$t/sn" "$t/0-of-3.mts" "$t/nan.mts"
check "and leaves nothing in the sums" cmp "$t/sn" "$t/s0"
