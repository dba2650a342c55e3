# pipelines/prepare.mk on a corpus of a thousand files: the same labels from one job and from four, and ten more files
# cause work for ten files only. Other changes of a corpus are in prepare_changes.sh, the teachers in
# prepare_teachers.sh.
. tests/shell
t=$TEST_TMP
prepare() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -f pipelines/prepare.mk AUDIO="$t/music of 1,000" VALID=20 K=16 TRAIN.kmeans='--n-init 1 --max-iter 3' FEATURES='mert-mel --bins 16 --n-fft 512 --hop 960 --log' "$@"; }
did() { grep -oE '^mert-[a-z]+' "$t/did" | sort | uniq -c | awk '{ printf "%s%s %s", n++ ? ", " : "", $2, $1 }'; }
same() { a=$1 b=$2; shift 2; for f; do cmp "$t/$a/$f" "$t/$b/$f" || return 1; done; }
all='train.tsv valid.tsv train.km train.km.meta valid.km valid.km.meta kmeans.safetensors'

wavs "$t/music of 1,000" 0 1000
check one_job prepare OUT="$t/one" SHARDS=1 -j1
check four_jobs prepare OUT="$t/four" SHARDS=4 -j4
check four_jobs_make_the_bytes_of_one same one four $all
rows() { [ "$(ls "$t/four/shards" | wc -l)" -eq 8 ] && [ "$(wc -l < "$t/one/train.km")" -eq $(($(wc -l < "$t/one/train.tsv") - 1)) ] && [ "$(($(wc -l < "$t/one/train.km") + $(wc -l < "$t/one/valid.km")))" -eq 1000 ]; }
check a_line_for_each_row rows

wavs "$t/music of 1,000" 1000 1010
touch "$t/mark"
few() { prepare OUT="$t/four" SHARDS=1 -j4 > "$t/did" || return 1; [ "$(did)" = 'mert-decode 2, mert-kmeans 2, mert-mel 2, mert-tensor 2' ] || { did; return 1; }; }
check ten_files_cost_a_part_for_each_half few
ten() { [ "$(cat "$t"/four/shards/*.00004.tsv | grep -c '/10[0-9][0-9]\.wav')" -eq 10 ] && [ "$(cat "$t"/four/shards/*.00004.tsv | wc -l)" -eq 12 ]; }
check of_the_ten ten
only() { find "$t/four" -type f -newer "$t/mark" | sed "s,^$t/four/,," | grep -vE '^\.lock$|^(files|train|valid)\.tsv$|^(train|valid)\.km(\.meta)?$|\.00004\.(tsv|mts)$' > "$t/other"; [ ! -s "$t/other" ] || { cat "$t/other"; return 1; }; }
check and_nothing_else_is_touched only
kept() { head -n 20 "$t/one/train.km" > "$t/a" && head -n 20 "$t/four/train.km" | cmp - "$t/a" && cmp "$t/one/kmeans.safetensors" "$t/four/kmeans.safetensors"; }
check labels_that_were_there_keep_their_meaning kept
# The labels of one run over everything, with the same codebook.
direct() {
    mert-decode --dtype i16 --manifest "$t/four/train.tsv" | mert-mel --bins 16 --n-fft 512 --hop 960 --log |
        mert-kmeans assign -m "$t/four/kmeans.safetensors" --labels "$t/direct.km" > "$t/x.mts" && cmp "$t/direct.km" "$t/four/train.km" &&
        cmp "$t/direct.km.meta" "$t/four/train.km.meta"
}
check what_came_when_does_not_show direct
