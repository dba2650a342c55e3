# pipelines/prepare.mk when a corpus changes: files that are changed or removed, interrupted runs, other settings, a
# codebook that is trained again. Only the necessary work is done, and the labels are always those of one run over all
# files.
. tests/shell
t=$TEST_TMP
prepare() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -f pipelines/prepare.mk AUDIO="$t/it's music" VALID=20 K=8 FEATURES='mert-mel --bins 16 --n-fft 512 --log' "$@"; }
did() { grep -oE '^mert-[a-z]+' "$t/did" | sort | uniq -c | awk '{ printf "%s%s %s", n++ ? ", " : "", $2, $1 }'; }
does() { expected=$1; shift; prepare "$@" > "$t/did" || return 1; [ "$(did)" = "$expected" ] || { cat "$t/did"; did; return 1; }; }
same() { a=$1 b=$2; shift 2; for f; do cmp "$t/$a/$f" "$t/$b/$f" || return 1; done; }
all='train.tsv valid.tsv train.km train.km.meta valid.km valid.km.meta kmeans.safetensors'
one='mert-decode 1, mert-kmeans 1, mert-mel 1, mert-tensor 1'
music=$t/it\'s\ music

wavs "$music" 0 40
check at_first prepare OUT="$t/one" SHARDS=1
check in_three_parts prepare OUT="$t/d" SHARDS=3 -j2
check in_parts_of_four_seconds prepare OUT="$t/many" SHARDS=1 HOURS=0.001 -j2
parts() {
    [ "$(ls "$t/one/shards" | wc -l)" -eq 2 ] && [ "$(ls "$t"/d/shards/train.* | wc -l)" -eq 3 ] && [ "$(ls "$t"/many/shards/train.* | wc -l)" -gt 4 ] || return 1
    for f in "$t"/many/shards/*.tsv; do awk -F'\t' 'NR > 1 { n += $2 } END { exit !(n > 0 && n < 5 * 24000) }' "$f" || return 1; done
}
check as_many_parts_as_asked_for parts
both() { same one d $all && same one many $all; }
check the_parts_do_not_show both
check nothing_is_done_twice does '' OUT="$t/d"
whole() { mert-tensor check --complete "$t/d/codes/kmeans/train.00001.mts"; }
check a_part_is_whole_by_itself whole

# ---- files ----

touched() { find "$t/d" -type f -newer "$t/mark" | sed "s,^$t/d/,,"; }
cp -p "$music/00/0000.wav" "$t/saved.wav"
cp "$music/00/0001.wav" "$music/00/0000.wav"
touch "$t/mark"
check a_changed_file_costs_its_part does "$one" OUT="$t/d"
first() { touched | grep -q '^codes/kmeans/[a-z]*\.00000\.mts$' && [ "$(touched | grep -c '^pcm/')" -eq 1 ]; }
check which_is_the_first first
touch "$music/00/0000.wav"
check so_does_one_that_was_only_touched does "$one" OUT="$t/d"
mv "$music/03/0039.wav" "$t/away.wav"
check one_that_went_costs_its_part does "$one" OUT="$t/d"
gone() { ! grep -q 0039.wav "$t"/d/*.tsv "$t"/d/shards/*; }
check and_is_nowhere_any_more gone
wavs "$music" 100 103
check three_more does "$one" OUT="$t/d" SHARDS=1
rm "$music"/10/*
part_gone() { does 'mert-tensor 1' OUT="$t/d" && [ -z "$(find "$t/d" -name '*.00003.*')" ]; }
check a_part_without_files_leaves_nothing part_gone
mv "$t/away.wav" "$music/03/0039.wav"
cp -p "$t/saved.wav" "$music/00/0000.wav"
check all_as_before prepare OUT="$t/d" -j2
check and_so_are_the_labels same one d $all

# ---- runs that end early ----

cut_short() { rm -f "$t"/d/codes/kmeans/train.0000[12].mts "$t/d/train.km" && does 'mert-kmeans 2, mert-tensor 1' OUT="$t/d" && same one d $all; }
check an_interrupted_run_goes_on cut_short
# Killed after some tenths of a second, repeatedly, until a run is complete.
free() { # waits until what lives on of a killed run has ended: a lock that goes by itself
    n=0; until flock -n "$t/$1/.lock" true; do sleep 0.2; n=$((n + 1)); [ $n -lt 600 ] || return 1; done
}
killed() {
    for s in 0.05 0.1 0.15 0.2 0.3 0.5 0.7; do timeout -s KILL $s env -u MAKEFLAGS -u MAKELEVEL make -s -f pipelines/prepare.mk AUDIO="$music" VALID=20 K=8 \
        FEATURES='mert-mel --bins 16 --n-fft 512 --log' OUT="$t/k" SHARDS=3 -j2; done 2> /dev/null
    mkdir -p "$t/k" && free k && prepare OUT="$t/k" SHARDS=3 && same one k $all && [ -z "$(find "$t/k" -name '*.part*')" ]
}
check killed_runs_leave_nothing_wrong killed
# (A killed mert-manifest may have left its temporary file beside these.)
scan_lost() { rm "$t/k/files.tsv" && prepare OUT="$t/k" SHARDS=2 && [ "$(ls "$t"/k/shards/*.tsv | wc -l)" -eq 4 ] && same one k $all; }
check without_its_memory_all_is_dealt_anew scan_lost
damaged() { printf 'a\tb\n' >> "$t/k/files.tsv"; }
damaged
check_fails a_damaged_memory_is_refused 1 'files.tsv:42: no list of files' mert-manifest --out "$t/k" --shards 1 "$music"

# ---- settings, and deleted files ----

less() { rm -r "$t/d/pcm" "$t/d/features" && does '' OUT="$t/d"; }
check samples_and_features_may_be_deleted less
again() { n=$(ls "$t"/d/shards/*.tsv | wc -l) && does "mert-decode $n" OUT="$t/d" pcm -j2 && does '' OUT="$t/d" && does '' OUT="$t/d" pcm; }
check samples_come_back_when_asked_for_and_are_no_news again
letters() { does "mert-kmeans $((n + 1)), mert-mel $n, mert-tensor 2" OUT="$t/d" retrain -j2 && same one d $all; }
check an_alphabet_trained_again_on_the_same_is_the_same letters
classes() { prepare OUT="$t/d" K=5 -j2 > "$t/did" && grep -q classes=5 "$t/d/train.km.meta" && grep -q classes=5 "$t/d/valid.km.meta"; }
check another_k_is_noticed classes
check and_noticed_again does 'mert-kmeans 7, mert-tensor 2' OUT="$t/d"
check back_to_the_labels_of_before same one d $all
kept() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -f pipelines/prepare.mk AUDIO="$music" K=8 FEATURES='mert-mel --bins 16 --n-fft 512 --log' OUT="$t/d" > "$t/did" && [ -z "$(did)" ] && same one d $all; }
check what_is_held_out_stays_without_being_said kept
other() { prepare OUT="$t/d" "$@" > /dev/null; }
check_fails another_share_for_validation_is_refused_with_both 2 'VALID=50 .* has by VALID=20: .*anew' other VALID=50
check_fails another_seed_too 2 'SEED=7 .* has by SEED=1' other SEED=7
check_fails other_endings_too 2 'EXT=wav,mp3 .* has by EXT=:' other EXT='wav mp3'
still() { does '' OUT="$t/d" && same one d $all; }
check and_nothing_was_done still
share() { prepare OUT="$t/d" VALID=50 anew -j2 && [ "$(wc -l < "$t/d/train.km")" -lt "$(wc -l < "$t/one/train.km")" ] && does '' OUT="$t/d" VALID=50 && prepare OUT="$t/d" VALID=20 anew -j2 && same one d $all; }
check dealt_anew_when_asked_and_back share
anew() { wavs "$music" 40 60 && prepare OUT="$t/d" -j2 && same one d kmeans.safetensors && prepare OUT="$t/d" retrain -j2 && prepare OUT="$t/fresh" SHARDS=2 -j2 && same fresh d $all && ! cmp -s "$t/one/kmeans.safetensors" "$t/d/kmeans.safetensors"; }
check an_alphabet_is_trained_anew_when_asked anew

# ---- joining shards by hand ----

codes="$t/d/codes/kmeans/train.*.mts"
gather() { mert-tensor gather --manifest "$t/d/train.tsv" "$@"; }
backwards() { gather $(ls -r $codes) > "$t/b.mts" && mert-tensor check --complete "$t/b.mts" && mert-tensor labels -o "$t/b.km" "$t/b.mts" && cmp "$t/b.km" "$t/d/train.km" && cmp "$t/b.km.meta" "$t/d/train.km.meta"; }
check parts_in_any_order backwards
more() { gather $codes "$t"/d/codes/kmeans/valid.*.mts | cmp - "$t/b.mts"; }
check and_more_than_is_asked_for more
gather_to() { out=$1; shift; gather "$@" > "$out"; }
set -- $codes
shift
check_fails a_missing_part_is_named 1 'train.tsv: row [0-9]+ \(.*wav\) is missing' gather_to "$t/y.mts" "$@"
set -- $codes
nothing() { [ ! -s "$t/y.mts" ]; }
check and_nothing_written nothing
check_fails a_part_that_comes_twice 1 'train.00000.mts: .*wav comes a second time' gather_to "$t/y.mts" "$@" "$1"
head -c 900 "$1" > "$t/cut.mts"
check_fails a_part_cut_short 1 'cut.mts: .*end' gather_to "$t/y.mts" "$t/cut.mts" "$@"
check_fails a_part_that_is_not_there 1 'absent.mts: No such file' gather_to "$t/y.mts" "$@" "$t/absent.mts"
check_fails standard_input_cannot 2 'name files' gather_to "$t/y.mts"
check_fails no_manifest 2 'manifest' mert-tensor gather "$1"
# A failed item keeps its line, which is empty, and is passed on as failed; so does an item with damaged bytes.
row_of() { sed 1d "$t/d/train.tsv" | grep -n "^$1" | cut -d: -f1; }
failed() {
    mv "$music/00/0003.wav" "$t/hidden.wav"
    { mert-decode --dtype i16 --manifest "$t/d/train.tsv" | mert-mel --bins 16 --n-fft 512 --log | mert-kmeans assign -m "$t/d/kmeans.safetensors" > "$t/f.mts"; } 2> "$t/said"
    mv "$t/hidden.wav" "$music/00/0003.wav"
    row=$(row_of 00/0003.wav)
    gather --max-failed 1 "$t/f.mts" > "$t/g.mts" && mert-tensor labels --max-failed 1 -o "$t/f.km" "$t/g.mts" && [ -n "$row" ] && sed "${row}s/.*//" "$t/d/train.km" | cmp - "$t/f.km" && grep -q failed_rows=1 "$t/f.km.meta" &&
        gather "$t/f.mts" > "$t/g.mts" 2> "$t/said"; [ $? -eq 1 ] && [ "$(cat "$t/said")" = 'mert-tensor: 1 item had failed before' ]
}
check a_failed_item_keeps_its_line failed
