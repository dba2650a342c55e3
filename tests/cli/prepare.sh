# pipelines/prepare.mk: the same labels however the work is split, nothing done twice, and parts joined are the whole.
. tests/shell
t=$TEST_TMP
prepare() { env -u MAKEFLAGS -u MAKELEVEL make -s -f pipelines/prepare.mk AUDIO="$t/music" VALID=30 K=8 CODEBOOKS=2 "$@"; }

mkdir -p "$t/music/a b"
for i in 1 2 3 4 5 6 7; do # short, and all different: a tone each in noise
    ffmpeg -nostdin -v error -f lavfi -i "sine=$((110 * i)):d=1.$i,volume=2[a];anoisesrc=d=1.$i:a=0.05:seed=$i[b];[a][b]amix" -ac 1 \
        "$t/music/a b/$i.$([ $((i % 2)) -eq 0 ] && echo flac || echo wav)" || exit 1
done

check alone prepare OUT="$t/one" SHARDS=1
check in_parts_at_once prepare OUT="$t/three" SHARDS=3 -j2
same() { for f in train.tsv valid.tsv train.km train.km.meta valid.km valid.km.meta kmeans.safetensors; do cmp "$t/one/$f" "$t/three/$f" || return 1; done; }
check the_split_does_not_show same
rows() { [ "$(wc -l < "$t/one/train.km")" -eq $(($(wc -l < "$t/one/train.tsv") - 1)) ] && [ "$(wc -l < "$t/one/train.km")" -gt 1 ]; }
check a_line_for_each_row rows

check another_teacher_beside_it prepare OUT="$t/three" SHARDS=3 -j2 TEACHER=rvq
both() { [ -s "$t/three/train.rvq_0" ] && [ -s "$t/three/train.rvq_1.meta" ] && [ -s "$t/three/train.km" ]; }
check both_are_there both

idle() { env -u MAKEFLAGS -u MAKELEVEL make -f pipelines/prepare.mk AUDIO="$t/music" VALID=30 K=8 CODEBOOKS=2 OUT="$t/one" SHARDS=1 > "$t/did" && ! grep mert- "$t/did"; }
check nothing_is_done_twice idle
redone() { prepare OUT="$t/one" SHARDS=1 K=5 && grep -q classes=5 "$t/one/train.km.meta"; }
stamp() { stat -c %y "$t/one/features/train.0-of-1.mts"; }
before=$(stamp)
check another_k_is_noticed redone
untouched() { [ "$before" = "$(stamp)" ]; }
check and_features_are_kept untouched

# The parts of one run joined by mert-tensor labels, and a part that is missing.
direct() { mert-kmeans assign -q -m "$t/three/kmeans.safetensors" --labels "$t/direct.km" "$t"/three/features/train.*.mts > "$t/x.mts" && cmp "$t/direct.km" "$t/three/train.km"; }
check joined_parts_equal_one_run direct
check_fails a_missing_part_is_named 1 'rows? .*missing' mert-tensor labels -o "$t/y.km" "$t/three/kmeans/train.0-of-3.mts" "$t/three/kmeans/train.2-of-3.mts"
nothing_left() { [ ! -e "$t/y.km" ]; }
check and_leaves_no_file nothing_left
