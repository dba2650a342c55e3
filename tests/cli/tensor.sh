# mert-tensor: every command on the sample streams and on NumPy's files.
. tests/shell
t=$TEST_TMP
valid=formats/stream/valid invalid=formats/stream/invalid
tab=$(printf '\t')
is() { printf '%s\n' "$1" > "$t/expected"; shift; "$@" > "$t/is" && diff "$t/expected" "$t/is"; }
says() { pattern=$1; shift; "$@" > "$t/says"; grep -qE -- "$pattern" "$t/says" || { cat "$t/says"; return 1; }; }
piped() { sh -c "$*"; }

# ---- ls ----
check ls_lists_records is "0${tab}f32${tab}hidden${tab}f32${tab}[24]${tab}24000${tab}24000/320
1${tab}f16${tab}hidden${tab}f16${tab}[12,2]${tab}24000${tab}24000/320
2${tab}bf16${tab}hidden${tab}bf16${tab}[4,3,2]${tab}24000${tab}24000/320
3${tab}i16${tab}hidden${tab}i16${tab}[2,2,3,2]${tab}24000${tab}24000/320
4${tab}u16${tab}hidden${tab}u16${tab}[1,24]${tab}24000${tab}24000/320
5${tab}i32${tab}hidden${tab}i32${tab}[1,2,12]${tab}24000${tab}24000/320" mert-tensor ls $valid/types-and-shapes.mts
check ls_long_shows_classes_and_model says "model=feedbeef01234567${tab}classes=1024,500$" mert-tensor ls -l $valid/codes.mts
check ls_long_shows_provenance says '^# via mert-rvq 0.1.0 codebooks=2$' mert-tensor ls -l $valid/codes.mts
failed_items() { mert-tensor ls $valid/failed-items.mts > "$t/ls"; [ $? -eq 1 ] && grep -q "^1${tab}half.mp3${tab}failed${tab}mert-decode: stops in the middle$" "$t/ls"; }
check ls_shows_failed_items_and_exits_1 failed_items
check ls_reads_a_pipe says '^3.d.flac' piped "cat $valid/joined.mts | mert-tensor ls"
check ls_reads_files_and_stdin says '^-.tone.wav' piped "cat $valid/pcm.mts | mert-tensor ls $valid/joined.mts -"
check ls_escapes_newlines says '^1.line%0Abreak' mert-tensor ls $valid/names.mts
check ls_max_failed mert-tensor ls --max-failed 2 $valid/failed-items.mts
check_fails ls_without_file 1 'none.mts: No such file' mert-tensor ls none.mts
goes_on() { mert-tensor ls none.mts $valid/pcm.mts 2> /dev/null | grep -q tone.wav; }
check ls_goes_on_after_a_bad_file goes_on

# ---- cat ----
check cat_joins says '^3.d.flac' piped "mert-tensor cat $valid/three.mts $valid/joined.mts | mert-tensor ls"
check cat_raw_is_what_zstd_says piped "zstd -dcq $valid/types-and-shapes.mts > $t/raw && mert-tensor cat --raw $valid/types-and-shapes.mts | cmp - $t/raw"
check cat_keeps_everything piped "mert-tensor cat $valid/codes.mts | mert-tensor ls -l > $t/a && mert-tensor ls -l $valid/codes.mts | cmp - $t/a"
# The bytes depend only on the contents: a copy of a copy equals the copy.
check cat_repeats piped "mert-tensor cat $valid/*s.mts > $t/1.mts; mert-tensor cat $t/1.mts > $t/2.mts; cmp $t/1.mts $t/2.mts"
cat_levels() { mert-tensor cat --level 19 $valid/types-and-shapes.mts | mert-tensor cmp - $valid/types-and-shapes.mts; }
check cat_levels cat_levels
passes_failures() { mert-tensor cat -q $valid/failed-items.mts > "$t/f.mts"; [ $? -eq 1 ] && mert-tensor ls "$t/f.mts" > "$t/ls"; [ $? -eq 1 ] && [ "$(grep -c failed "$t/ls")" -eq 2 ]; }
check cat_passes_failures_on passes_failures
no_end() { mert-tensor cat $invalid/no-end.mts > "$t/n.mts" 2> /dev/null; [ $? -eq 1 ] && mert-tensor ls "$t/n.mts" 2>&1 | grep -q 'stops without an end record'; }
check cat_ends_nothing_that_had_no_end no_end

# ---- check ----
all_valid() { for f in $valid/*.mts; do case $f in */failed-items.mts) ;; *) mert-tensor check "$f" || return 1 ;; esac; done; }
check check_accepts_valid_samples all_valid
all_invalid() {
    for f in $invalid/*.mts; do
        mert-tensor check "$f" 2> "$t/said"; rc=$?
        if [ $rc -ne 1 ] || ! grep -q "$(basename "$f"): " "$t/said"; then echo "$f: exit $rc"; cat "$t/said"; return 1; fi
    done
}
check check_finds_every_fault all_invalid
check check_complete mert-tensor check --complete $valid/joined.mts
head -c 1206 $valid/joined.mts > "$t/half.mts" # the first of its two streams
check_fails check_complete_missing 1 'rows 2 to 3 are missing' mert-tensor check --complete "$t/half.mts"
mert-tensor from-npy --kind mel --rate 16000 --key once $golden/kmeans/centroids.npy > "$t/once.mts"
cat "$t/once.mts" "$t/once.mts" > "$t/twice.mts"
check_fails check_complete_twice 1 'row 0 \(once\) comes twice' mert-tensor check --complete "$t/twice.mts"
check_fails check_complete_without_rows 1 'the number of rows is not known' mert-tensor check --complete $valid/no-records.mts
check_fails check_complete_other_manifest 1 'streams of different manifests' mert-tensor check --complete $valid/three.mts $valid/no-records.mts
mert-tensor cat -q $valid/failed-items.mts > "$t/failed.mts"
check check_complete_counts_failed_rows says 'exit 1, 2 lines' piped "mert-tensor check --complete $t/failed.mts 2> $t/said; echo exit \$?, \$(wc -l < $t/said) lines"

# ---- cmp ----
npy() { # FILE 'DESCR' 'SHAPE' with the data in octal escapes
    head=$(printf "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" "$2" "$3")
    { printf '\223NUMPY\001\000\166\000'; printf '%-117s\n' "$head"; printf "$4"; } > "$1"
}
# [2, 2] of float32: 1 2 / 3 4, and with 4.5 and NaN in it
npy "$t/a.npy" '<f4' '(2, 2)' '\000\000\200\077\000\000\000\100\000\000\100\100\000\000\200\100'
npy "$t/b.npy" '<f4' '(2, 2)' '\000\000\200\077\000\000\000\100\000\000\100\100\000\000\220\100'
npy "$t/n.npy" '<f4' '(2, 2)' '\000\000\200\077\000\000\000\100\000\000\300\177\000\000\200\100'
npy "$t/long.npy" '<f4' '(3, 2)' '\000\000\200\077\000\000\000\100\000\000\100\100\000\000\200\100\000\000\000\000\000\000\000\000'
for f in a b n long; do mert-tensor from-npy --allow-nonfinite --kind mel --rate 24000 "$t/$f.npy" > "$t/$f.mts"; done
check cmp_equal says 'equal: 4 values' mert-tensor cmp "$t/a.mts" "$t/a.mts"
differs() { mert-tensor cmp "$@" > "$t/cmp" 2> "$t/said"; [ $? -eq 1 ]; }
check cmp_differs differs "$t/b.mts" "$t/a.mts"
check cmp_prints_where grep -q 'largest difference 0.5 at \[1, 1\]: 4.5 and 4; 0.125 of the value, 0.125 of the peak 4; 1 of 4 differ; beyond' "$t/cmp"
check cmp_atol mert-tensor cmp --atol 0.5 "$t/b.mts" "$t/a.mts"
check cmp_atol_too_small differs --atol 0.49 "$t/b.mts" "$t/a.mts"
check cmp_rtol mert-tensor cmp --rtol 0.125 "$t/b.mts" "$t/a.mts"
check cmp_rtol_too_small differs --rtol 0.124 "$t/b.mts" "$t/a.mts"
check cmp_tolerances_add_up mert-tensor cmp --rtol 0.1 --atol 0.1 "$t/b.mts" "$t/a.mts"
check cmp_ptol mert-tensor cmp --ptol 0.125 "$t/b.mts" "$t/a.mts"
check cmp_nan_differs_at_any_tolerance differs --atol 1e30 "$t/n.mts" "$t/a.mts"
check cmp_nan_equals_nan mert-tensor cmp "$t/n.mts" "$t/n.mts"
check cmp_lengths differs --atol 9 "$t/long.mts" "$t/a.mts"
check cmp_lengths_said grep -q 'lengths differ: 3 and 2 time steps; equal: 4 values' "$t/cmp"
check cmp_shapes differs $valid/three.mts "$t/once.mts"
check cmp_shapes_said grep -q 'shapes differ: \[?,2\|shapes differ: \[4,2\] and \[40,12\]' "$t/cmp"
check cmp_counts_records grep -q 'only the first has it' "$t/cmp"
check cmp_kinds differs $valid/pcm.mts $valid/codes.mts
check cmp_kinds_said grep -q 'kinds differ: pcm and codes' "$t/cmp"
mert-tensor from-npy --kind mel --rate 16000 "$t/a.npy" > "$t/other-rate.mts"
mert-tensor from-npy --kind mel --rate 24000 --frame-rate 50 "$t/a.npy" > "$t/other-frames.mts"
check cmp_rates differs --atol 9 "$t/other-rate.mts" "$t/a.mts"
check cmp_rates_said grep -q 'rates differ: 16000 Hz, 0/1 and 24000 Hz, 0/1' "$t/cmp"
mert-tensor from-npy --kind mel --rate 24000 --frame-rate 24000/320 "$t/a.npy" > "$t/usual-frames.mts"
check cmp_frame_rates differs --atol 9 "$t/other-frames.mts" "$t/usual-frames.mts"
check cmp_frame_rates_said grep -q 'rates differ: 24000 Hz, 50/1 and 24000 Hz, 24000/320' "$t/cmp"
check cmp_reads_a_pipe piped "cat $t/a.mts | mert-tensor cmp - $t/a.mts"
check cmp_damage differs $invalid/flip-data.mts $valid/three.mts
check cmp_names_the_damaged_record grep -q '^1.b.flac.one of them did not come whole' "$t/cmp"
check_fails cmp_two_inputs 2 'two streams are compared' mert-tensor cmp "$t/a.mts"

# ---- stat ----
check stat_of_numbers is "row${tab}key${tab}kind${tab}shape${tab}min${tab}max${tab}mean${tab}std${tab}nan${tab}inf
0${tab}n${tab}mel${tab}[2,2]${tab}1${tab}4${tab}2.33333${tab}1.24722${tab}1${tab}0" piped "mert-tensor from-npy --allow-nonfinite --kind mel --key n $t/n.npy | mert-tensor stat"
check stat_of_codes is "codebook${tab}classes${tab}used${tab}frames${tab}entropy${tab}perplexity${tab}largest${tab}run${tab}verdict
0${tab}1024${tab}6${tab}6${tab}2.5850${tab}6.00${tab}0.1667${tab}1.00${tab}fewer frames than classes
1${tab}500${tab}6${tab}6${tab}2.5850${tab}6.00${tab}0.1667${tab}1.00${tab}fewer frames than classes" mert-tensor stat $valid/codes.mts
check stat_sums_up says '^-.all.-.-.0.23.11.5.6.92219.0.0$' mert-tensor stat $valid/types-and-shapes.mts

# ---- text ----
check text_is_one_step_per_line is "# 0${tab}long${tab}hidden${tab}i16${tab}[?,13]${tab}24000${tab}24000/320
0 1 2 3 4 5 6 7 8 9 10 11 12" piped "mert-tensor text $valid/chunks.mts | head -n 2"
check text_without_heads is "77" piped "mert-tensor text --no-heads $valid/chunks.mts | awk 'END { print \$NF }'"
check text_prints_exactly is "0.5
-0.5" piped "mert-tensor text --no-heads $valid/pcm.mts | sed -n '2p;6p'"
check text_codes_are_label_lines is "1023 0 1 3 5 7" mert-tensor text --codebook 0 $valid/codes.mts
check_fails text_codebook_that_is_not_there 1 'has 2 codebooks, none of them is number 2' mert-tensor text --codebook 2 $valid/codes.mts

# ---- from-npy, to-npy ----
there_and_back() { mert-tensor from-npy --kind "$1" --rate 24000 "$2" | mert-tensor to-npy -o "$t/back.npy" && cmp "$2" "$t/back.npy"; }
check npy_there_and_back there_and_back mel $golden/kmeans/centroids.npy
check npy_there_and_back_f32 there_and_back mel "$t/a.npy"
npy "$t/i16.npy" '<i2' '(3,)' '\001\000\377\377\000\200'
check npy_pcm_i16_there_and_back there_and_back pcm "$t/i16.npy"
check npy_labels_become_codes says '^0.*labels.npy.codes.u16.\[16000,1\].16000.50/1.*classes=40$' piped "mert-tensor from-npy --kind codes --rate 16000 --frame-rate 50 $golden/kmeans/labels.npy | mert-tensor ls -l"
check npy_classes_given says 'classes=70000$' piped "mert-tensor from-npy --kind codes --classes 70000 $golden/kmeans/labels.npy | mert-tensor ls -l"
check npy_many_classes_need_i32 says '^0.*codes.i32' piped "mert-tensor from-npy --kind codes --classes 70000 $golden/kmeans/labels.npy | mert-tensor ls"
check npy_transposes is "1 3
2 4" piped "mert-tensor from-npy --kind mel --transpose $t/a.npy | mert-tensor text --no-heads"
npy "$t/f8.npy" '<f8' '(1, 2)' '\000\000\000\000\000\000\360\077\232\231\231\231\231\231\271\077'
check npy_float64_is_rounded is "1 0.100000001" piped "mert-tensor from-npy --kind mel $t/f8.npy | mert-tensor text --no-heads"
refuses() { name=$1 pattern=$2; shift 2; check_fails "$name" 1 "$pattern" piped "mert-tensor from-npy $* > $t/refused.mts"; }
refuses npy_one_axis_is_no_feature 'i16.npy: one axis; mel needs' --kind mel "$t/i16.npy"
refuses npy_negative_codes 'element 1: code -1 is outside' --kind codes "$t/i16.npy"
refuses npy_codes_outside_classes 'code [0-9]+ is outside 0 to 4' --kind codes --classes 5 $golden/kmeans/labels.npy
refuses npy_float_codes 'codes of type float32' --kind codes "$t/a.npy"
refuses npy_not_a_npy 'three.mts: not a npy file' --kind mel $valid/three.mts
check npy_failed_file_is_in_the_stream says '^0.*failed.mert-tensor: .*not a npy file' piped "mert-tensor ls $t/refused.mts || true"
goes_on_npy() { mert-tensor from-npy --kind mel none.npy "$t/a.npy" 2> /dev/null > "$t/two.mts"; [ $? -eq 1 ] && mert-tensor ls --max-failed 1 "$t/two.mts" | grep -q '^1.*a.npy.mel'; }
check npy_goes_on_after_a_bad_file goes_on_npy
# The begin frame depends on the inputs, but not on how and from where they were read (contract S3).
begin_of() { (cd "$1" && mert-tensor from-npy --kind mel --rate 24000 --key k in.npy) | head -c 1000 | strings | sed '/^xxh64=/q'; }
mkdir "$t/here" "$t/there" "$t/elsewhere"
cp "$t/a.npy" "$t/here/in.npy"; cp "$t/a.npy" "$t/elsewhere/in.npy"; cp "$t/b.npy" "$t/there/in.npy"
apart() { begin_of "$t/here" > "$t/x" && begin_of "$t/there" > "$t/y" && grep -q '^input=' "$t/x" && ! cmp -s "$t/x" "$t/y"; }
check inputs_tell_streams_apart apart
place() { for d in here elsewhere; do (cd "$t/$d" && mert-tensor from-npy --kind mel --rate 24000 --key k in.npy > out.mts) || return; done; cmp "$t/here/out.mts" "$t/elsewhere/out.mts"; }
check the_place_of_a_file_does_not_show place
refuses npy_nan_by_place 'n.npy: frame 1, value 0 of 2 is nan' --kind mel "$t/n.npy"
npy "$t/f8big.npy" '<f8' '(1, 2)' '\000\000\000\000\000\000\360\077\234\165\000\210\074\344\067\176'
refuses npy_float64_beyond_float32 'f8big.npy: frame 0, value 1 of 2 is inf' --kind mel "$t/f8big.npy"
npy "$t/f2.npy" '<f2' '(3, 1)' '\000\074\377\173\000\374'
refuses npy_infinite_f16 'f2.npy: frame 2, value 0 of 1 is -inf' --kind mel "$t/f2.npy"
check_fails check_names_what_is_no_number 1 'n.npy: frame 1, value 0 of 2 is nan' mert-tensor check "$t/n.mts"
check_fails npy_kind_is_needed 2 '--kind is missing' mert-tensor from-npy "$t/a.npy"
check_fails npy_pcm_needs_a_rate 2 'pcm needs --rate' mert-tensor from-npy --kind pcm "$t/i16.npy"
check_fails npy_bad_kind 1 'kind "Mel" is no word' piped "mert-tensor from-npy --kind Mel $t/a.npy > $t/x"
check_fails npy_bad_frame_rate 2 "no fraction" mert-tensor from-npy --kind mel --frame-rate 0/1 "$t/a.npy"

to_dir() { rm -rf "$t/dir"; mert-tensor to-npy -d "$t/dir/deep" $valid/names.mts && ls -A "$t/dir/deep" > "$t/ls" && [ "$(wc -l < "$t/ls")" -eq 5 ] && grep -qx '100%25.wav.npy' "$t/ls"; }
check npy_one_file_per_record to_dir
stays_inside() {
    rm -rf "$t/jail"; mkdir -p "$t/jail/in"
    for key in ../../evil /etc/evil . .. '' 'a/../../b' "$(printf 'x%.0s' $(seq 1000))"; do
        mert-tensor from-npy --kind mel --key "$key" "$t/a.npy"
    done | mert-tensor to-npy -d "$t/jail/in" || return 1
    [ "$(find "$t/jail" -type f | wc -l)" -eq 7 ] && [ "$(find "$t/jail/in" -type f -name '*.npy' | wc -l)" -eq 7 ]
}
check npy_never_leaves_its_folder stays_inside
check_fails npy_equal_keys 1 'once: a second record of this name' mert-tensor to-npy -d "$t/equal" "$t/twice.mts"
check_fails npy_one_record_only 1 'is a second record' mert-tensor to-npy -o "$t/one.npy" "$t/twice.mts"
check_fails npy_no_record 1 'no record that is whole came' mert-tensor to-npy -o "$t/zero.npy" $valid/no-records.mts
tree() {
    rm -rf "$t/tree"; mkdir "$t/tree" && mert-tensor from-npy --kind mfcc --key 'Bücher/50% ../é' "$golden/kmeans/features.npy" > "$t/tree.mts" &&
        mert-tensor to-npy -d "$t/tree/in" --tree --index "$t/tree/index" "$t/tree.mts" &&
        cmp "$golden/kmeans/features.npy" "$t/tree/in/Bücher/50%25 ../é.npy" &&
        [ "$(cut -f 1,2 "$t/tree/index")" = "$(printf 'Bücher/50%% ../é\tBücher/50%%25 ../é.npy')" ] || return
    printf '/music\nBücher/50%% ../é\t1\n' > "$t/tree/m.tsv"
    mert-tensor from-npy --kind mfcc --manifest "$t/tree/m.tsv" --tree "$t/tree/in" | mert-tensor cmp - "$t/tree.mts" > "$t/out"
}
check npy_tree_and_index tree
taken() { mkdir -p "$t/taken" && : > "$t/taken/Bücher"; mert-tensor to-npy -d "$t/taken" --tree "$t/tree.mts"; }
check_fails npy_tree_in_the_way 1 'Bücher/50% ../é: .*taken/Bücher' taken
join() {
    for k in a b; do mert-tensor from-npy --kind mfcc --key $k "$golden/kmeans/features.npy"; done > "$t/two.mts" &&
        mert-tensor to-npy -o "$t/joined.npy" --join --index "$t/joined.tsv" "$t/two.mts" && mert-tensor from-npy --kind mfcc "$t/joined.npy" | zstd -dcq > "$t/joined.raw" &&
        zstd -dcq "$t/two.mts" | cmp - "$t/joined.raw" && [ "$(cut -f 1 "$t/joined.tsv" | tr '\n' ' ')" = 'a b ' ]
}
check npy_joined join
others() { cat "$t/two.mts" $valid/pcm.mts | mert-tensor to-npy -o "$t/others.npy" --join; }
check_fails npy_joined_to_another 1 'pcm .* cannot be joined to mfcc f32 [[][0-9]+,[0-9]+[]]' others
check npy_joined_without_the_other cmp "$t/joined.npy" "$t/others.npy"
# Damage under way takes back what had come of the record.
voided() {
    cp "$t/two.mts" "$t/voided.mts" && printf damaged | dd of="$t/voided.mts" bs=1 seek=$(($(wc -c < "$t/two.mts") * 7 / 8)) conv=notrunc 2> "$t/said" || return
    mert-tensor to-npy -o "$t/voided.npy" --join "$t/voided.mts" 2> "$t/said"
    [ $? -eq 1 ] && mert-tensor from-npy --kind mfcc "$t/voided.npy" | zstd -dcq > "$t/voided.raw" && head -c "$(wc -c < "$t/voided.raw")" "$t/joined.raw" | cmp - "$t/voided.raw" &&
        [ "$(($(wc -c < "$t/voided.raw") * 2))" -eq "$(wc -c < "$t/joined.raw")" ]
}
check npy_joined_but_for_what_is_damaged voided
for w in '-d x --join' '-o x --tree'; do check_fails "npy_$w" 2 "--(join|tree)" mert-tensor to-npy $w $valid/pcm.mts; done
check_fails npy_where_to 2 'either -o FILE.npy or -d DIR' mert-tensor to-npy $valid/pcm.mts
lost_record() { rm -f "$t/lost/"*; mert-tensor to-npy -d "$t/lost" $invalid/flip-data.mts 2> /dev/null; [ $? -eq 1 ] && [ "$(ls -A "$t/lost" | wc -l)" -eq 2 ]; }
check npy_a_damaged_record_leaves_no_file lost_record

# ---- where the output goes ----
check_fails full_disk_stream 1 'No space left' piped "mert-tensor cat $valid/three.mts > /dev/full"
check_fails full_disk_text 1 'standard output: No space left' piped "mert-tensor ls $valid/three.mts > /dev/full"
check_fails full_disk_npy 1 'No space left' piped "mert-tensor from-npy --kind mel $t/a.npy > /dev/full"
check_fails closed_stdout 1 'standard output' piped "mert-tensor cat $valid/three.mts >&-"
mert-tensor from-npy --kind mfcc $golden/kmeans/features.npy > "$t/big.mts"
quiet_end() { (trap '' PIPE; mert-tensor cat "$t/big.mts"; echo $? > "$t/rc") 2> "$t/said" | head -c 100 > /dev/null; [ ! -s "$t/said" ] && [ "$(cat "$t/rc")" -eq 141 ]; }
check closed_pipe_ends_quietly quiet_end
if script -qec true /dev/null > /dev/null 2>&1; then
    check no_stream_to_a_terminal says 'not written to a terminal' script -qec "mert-tensor cat $valid/three.mts || true" /dev/null
    check no_stream_from_a_terminal says 'standard input is a terminal' script -qec 'mert-tensor ls || true' /dev/null
    check none_to_a_filter_either says 'standard input is a terminal' script -qec "mert-cqt $valid/pcm.mts - > $t/tty.mts || true" /dev/null
fi
check_fails no_command 2 'which command' mert-tensor
check_fails unknown_command 2 "no such command 'frobnicate'" mert-tensor frobnicate
