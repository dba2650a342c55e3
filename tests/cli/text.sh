# Text files as editors and other programs leave them: byte order marks, line ends, blanks, absolute paths.
. tests/shell
t=$TEST_TMP
tab=$(printf '\t')
mark=$(printf '\357\273\277')
mkdir -p "$t/music/sub"
ffmpeg -nostdin -v error -y -f lavfi -i "sine=300:sample_rate=8000:duration=0.25" -c:a pcm_s16le "$t/music/a.wav" || exit 1
cp "$t/music/a.wav" "$t/music/ blanks .wav"
keys() { mert-decode --rate 8000 --manifest "$1" | mert-tensor ls | cut -f 2; }

# ---- manifests ----
marked() { printf '%s%s\r\na.wav\t2000 \r\n' "$mark" "$t/music" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = a.wav ]; }
check a_byte_order_mark_is_passed_over marked
absolute() { printf '/\n%s\t2000\n' "$t/music/a.wav" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = "$t/music/a.wav" ]; }
check absolute_paths_below_the_root absolute
beside() { printf '/nowhere\n%s\t2000\n' "$t/music/a.wav" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = "$t/music/a.wav" ]; }
check absolute_paths_stand_for_themselves beside
blanks() { printf '%s\n blanks .wav\t2000' "$t/music" > "$t/m.tsv"; mert-decode --rate 8000 --manifest "$t/m.tsv" | mert-tensor check; }
check blanks_belong_to_a_path blanks
wide() { printf '\377\376/\0' > "$t/m.tsv"; mert-decode --rate 8000 --manifest "$t/m.tsv" > /dev/null; }
check_fails utf_16_is_named 1 "$t/m.tsv: a text in UTF-16" wide
absent() { printf '%s/music\nno.wav\t5\n' "$t" > "$t/m.tsv"; mert-decode --manifest "$t/m.tsv" > /dev/null; }
check_fails a_file_that_is_not_there_is_named_whole 1 "$t/music/no.wav: No such file" absent

# ---- recipes ----
printf '%sencoder_layers = 2\r\nencoder_embed_dim = 48 # narrow\r\nseed = 5' "$mark" > "$t/marked.recipe"
printf 'encoder_layers = 2\nencoder_embed_dim = 48 # narrow\nseed = 5\n' > "$t/plain.recipe"
recipes() { for r in marked plain; do mert-train --recipe "$t/$r.recipe" --print-recipe > "$t/$r.out" || return 1; done; cmp "$t/marked.out" "$t/plain.out"; }
check recipes_from_another_editor recipes

# ---- tables ----
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
    echo "i$i $((i % 3)) $((i % 2)) 1 $((i % 3)) 0 1" >> "$t/items"
    printf 'i%d\tc%d\n' $i $((i % 3)) >> "$t/table"
done
text-stream mfcc 1 2 10 < "$t/items" > "$t/items.mts"
probe() { mert-probe -q --seeds 1 --folds 3 --labels "$1" "$t/items.mts" > "$2"; }
edited() {
    { printf %s "$mark"; sed '3s/$/ /; 5s/\t/\t /; s/$/\r/' "$t/table"; } > "$t/edited"
    probe "$t/table" "$t/plain.out" && probe "$t/edited" "$t/edited.out" && cmp "$t/plain.out" "$t/edited.out"
}
check blanks_make_no_class_of_their_own edited
