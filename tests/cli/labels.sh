# Conversion of labels in both directions, dictionaries, export to fairseq, joining teachers, and measures of a teacher.
. tests/shell
t=$TEST_TMP
tab=$(printf '\t')
is() { printf '%s\n' "$1" > "$t/expected"; shift; "$@" > "$t/is" && diff "$t/expected" "$t/is"; }
says() { pattern=$1; shift; "$@" > "$t/says"; grep -qE -- "$pattern" "$t/says" || { cat "$t/says"; return 1; }; }
piped() { sh -c "$*"; }
# .meta files that are written by a test have no hash.
same_meta() { grep -v -e ^hash= -e ^meta= "$1" > "$t/meta.1"; grep -v -e ^hash= -e ^meta= "$2" > "$t/meta.2"; cmp "$t/meta.1" "$t/meta.2"; }
all() { for f in $2; do case $f in *.meta) same_meta "$1/$f" "$3/$f" ;; *) cmp "$1/$f" "$3/$f" ;; esac || return 1; done; }

# Two codebooks over five rows: the second failed, the fourth is empty.
mkdir -p "$t/a" "$t/b" "$t/c"
printf '/music\na.wav\t960\nb/bad.wav\t1000\nc d.wav\t1600\nd.wav\t640\ne.wav\t320\n' > "$t/a/train.tsv"
printf '0 1 2\n\n2 2 1 0 3\n3 3\n1\n' > "$t/a/train.q_0"
printf '10 11 12\n\n0 0 0 19 0\n5 5\n19\n' > "$t/a/train.q_1"
manifest=$(mert-tensor from-npy --kind codes --manifest "$t/a/train.tsv" "$t" 2> /dev/null | mert-tensor ls -l 2> /dev/null | sed -n 's/^# rows.*manifest //p')
meta() { # FILE CLASSES INDEX
    printf 'classes=%s\nframe_rate=24000/320\ncodebook=00000000000c0de5\ncodebook_index=%s\nmanifest=%s\nrows=5\nfailed_rows=1\n' "$2" "$3" "$manifest" > "$1.meta"
}
meta "$t/a/train.q_0" 4 0
meta "$t/a/train.q_1" 20 1
files="train.q_0 train.q_1 train.q_0.meta train.q_1.meta"
from() { mert-tensor from-labels --max-failed 1 "$@"; }
labels() { mert-tensor labels --max-failed 1 "$@"; }
read_back() { from --rate 24000 --manifest "$t/a/train.tsv" "$t/a/train.q_%d" > "$t/codes.mts"; }

# ---- both directions ----
check text_to_codes read_back
check codes_say_what_labels_said is "# rows 0 to 5 of 5, manifest $manifest
# via mert-tensor $(mert-tensor --version | sed -n '1s/.* //p') from-labels
0${tab}a.wav${tab}codes${tab}u16${tab}[3,2]${tab}24000${tab}24000/320${tab}model=00000000000c0de5${tab}classes=4,20
1${tab}b/bad.wav${tab}failed${tab}mert-tensor: it has no labels
2${tab}c d.wav${tab}codes${tab}u16${tab}[5,2]${tab}24000${tab}24000/320${tab}model=00000000000c0de5${tab}classes=4,20
3${tab}d.wav${tab}codes${tab}u16${tab}[2,2]${tab}24000${tab}24000/320${tab}model=00000000000c0de5${tab}classes=4,20
4${tab}e.wav${tab}codes${tab}u16${tab}[1,2]${tab}24000${tab}24000/320${tab}model=00000000000c0de5${tab}classes=4,20" mert-tensor ls -l --max-failed 1 "$t/codes.mts"
text_again() { labels -o "$t/b/train.q_%d" "$t/codes.mts" && all "$t/a" "$files" "$t/b"; }
check text_codes_text_is_byte_equal text_again
# Label files are checked by their hash: one label, ten bytes, or one bit of an array changed.
changed() { # COMMAND...: on a copy of what labels wrote
    rm -rf "$t/h"; mkdir "$t/h"; cp "$t/b/train.q_0" "$t/b/train.q_0.meta" "$t/h"; "$@" "$t/h/train.q_0"
    mert-tensor from-labels --max-failed 1 "$t/h/train.q_0" > /dev/null
}
check labels_that_were_written_know_their_hash grep -qx 'hash=[0-9a-f]\{16\}' "$t/b/train.q_0.meta"
check what_is_whole_passes changed true
check_fails another_label 1 "h/train.q_0: damaged or changed since it was written: its hash is [0-9a-f]*, $t/h/train.q_0.meta says" changed sed -i '1s/^0/3/'
check_fails a_cut_file 1 'h/train.q_0: damaged or changed' changed truncate -s -3
on_purpose() { sed -i '1s/^0/3/' "$1"; sed -i /^hash=/d "$1.meta"; }
check labels_changed_on_purpose changed on_purpose
check "and said to be unverified" says 'h/train.q_0: unverified: its .meta has no hash' piped "mert-tensor from-labels --max-failed 1 $t/h/train.q_0 2>&1 > /dev/null"
arrays() { labels -o "$t/b/train.q_%d.npy" "$t/codes.mts" && same_meta "$t/a/train.q_1.meta" "$t/b/train.q_1.npy.meta"; }
check codes_to_arrays arrays
one_bit() { cp "$t/b/train.q_1.npy" "$t/b/train.q_1.npy.meta" "$t/h" && printf '\013' | dd of="$t/h/train.q_1.npy" bs=1 seek=128 conv=notrunc 2> /dev/null && mert-tensor from-labels --max-failed 1 "$t/h/train.q_1.npy" > /dev/null; }
check_fails another_bit_of_an_array 1 'h/train.q_1.npy: damaged or changed' one_bit
array_again() {
    from --rate 24000 --manifest "$t/a/train.tsv" "$t/b/train.q_%d.npy" > "$t/again.mts" && mert-tensor cat --raw -q --max-failed 1 "$t/again.mts" > "$t/raw" &&
        zstd -dcq "$t/codes.mts" | cmp - "$t/raw" && labels -o "$t/c/train.q_%d" "$t/again.mts" && all "$t/a" "$files" "$t/c"
}
check arrays_codes_text_is_byte_equal array_again
arrays_twice() { from "$t/b/train.q_%d.npy" | labels -o "$t/c/train.q_%d.npy" && all "$t/b" "train.q_0.npy train.q_1.npy train.q_0.npy.meta train.q_1.npy.meta" "$t/c"; }
check arrays_codes_arrays_is_byte_equal arrays_twice
types() {
    for type in i16 i32 i64; do
        from "$t/a/train.q_0" | labels --npy-type $type -o "$t/c/$type.npy" || return
        from "$t/c/$type.npy" | labels -o "$t/c/$type.km" && cmp "$t/c/$type.km" "$t/a/train.q_0" || return
    done
    [ "$(wc -c < "$t/c/i16.npy")" -eq 178 ] && [ "$(wc -c < "$t/c/i64.npy")" -eq 328 ] # [5, 5] behind a header of 128
}
check arrays_of_every_type types
check an_array_is_filled_up is ' 0 1 2 -1 -1 -1 -1 -1 -1 -1 2 2 1 0 3 3 3 -1 -1 -1 1 -1 -1 -1 -1' piped "tail -c +129 $t/b/train.q_0.npy | od -An -v -td2 -w2 | tr -d '\n' | tr -s ' '; echo"
folder() {
    mert-tensor to-npy -q --max-failed 1 -d "$t/npy" "$t/codes.mts" && [ "$(ls "$t/npy" | wc -l)" -eq 4 ] &&
        mert-tensor from-npy -q --max-failed 1 --kind codes --rate 24000 --frame-rate 24000/320 --classes 4,20 --manifest "$t/a/train.tsv" "$t/npy" > "$t/n.mts" 2> "$t/said" &&
        grep -q 'bad.wav.npy: No such file' "$t/said" && labels -o "$t/c/train.q_%d" "$t/n.mts" && cmp "$t/a/train.q_0" "$t/c/train.q_0" && cmp "$t/a/train.q_1" "$t/c/train.q_1" &&
        sed 's/c0de5/00000/' "$t/a/train.q_1.meta" > "$t/nameless.meta" && same_meta "$t/nameless.meta" "$t/c/train.q_1.meta"
}
check one_array_per_item_and_back folder
one_record() { mert-tensor to-npy -o "$t/1.npy" "$t/one.mts" && mert-tensor from-npy --kind codes --classes 4,20 "$t/1.npy" | mert-tensor to-npy -o "$t/2.npy" && cmp "$t/1.npy" "$t/2.npy"; }
printf '2 2 1 0 3\n' > "$t/one.x_0"; printf '0 0 0 19 0\n' > "$t/one.x_1"
printf 'classes=4\nrows=1\n' > "$t/one.x_0.meta"; printf 'classes=20\nrows=1\n' > "$t/one.x_1.meta"
from "$t/one.x_%d" > "$t/one.mts"
check one_record_array_and_back one_record
failed_rows() { from -q "$t/a/train.q_0" | mert-tensor ls 2> /dev/null | grep -c "failed"; }
check a_row_that_failed_is_a_failed_item is 1 failed_rows
counted() { mert-tensor from-labels "$t/a/train.q_0" > "$t/x.mts" 2> "$t/said"; [ $? -eq 1 ] && [ "$(grep -v unverified "$t/said")" = 'mert-tensor: 1 item had failed before' ]; }
check and_counts_as_one counted
short() { # nothing failed: rows without labels are items too short for any
    mkdir -p "$t/short"; cp "$t/a/train.q_0" "$t/short"; sed s/failed_rows=1/failed_rows=0/ "$t/a/train.q_0.meta" > "$t/short/train.q_0.meta"
    mert-tensor from-labels "$t/short/train.q_0" > "$t/s.mts" && mert-tensor labels -o "$t/short/again" "$t/s.mts" && cmp "$t/short/again" "$t/a/train.q_0" && same_meta "$t/short/again.meta" "$t/short/train.q_0.meta"
}
check a_row_that_is_too_short_is_an_empty_item short
check keys_without_a_manifest says '^4.row-4.codes' piped "mert-tensor from-labels --max-failed 1 $t/a/train.q_0 | mert-tensor ls --max-failed 1"

# ---- refusals ----
refuses() { name=$1 pattern=$2; shift 2; check_fails "$name" 1 "$pattern" piped "cd $t/r && mert-tensor from-labels $* > $t/refused.mts"; }
fresh() { rm -rf "$t/r"; cp -r "$t/a" "$t/r"; }
fresh; rm "$t/r/train.q_0.meta"
refuses classes_must_be_known 'train.q_0: the number of classes is not known' -q train.q_0
unverified() { mert-tensor from-labels --max-failed 1 --classes 4 --frame-rate 75 "$t/r/train.q_0" 2> "$t/said" | mert-tensor ls -l --max-failed 1 | grep -q '75/1.model=0000000000000000.classes=4' && grep -q 'train.q_0: unverified: no .meta' "$t/said"; }
check unverified_labels_are_said unverified
printf '0 1 2\n\n2 2 1 0 3\n' > "$t/r/three.km"
refuses a_label_beyond_the_classes 'three.km:3:9: .3. is no label \(0 to 2\)' -q --max-failed 1 --classes 3 three.km
fresh
refuses other_classes_than_asked 'train.q_0: has 4 classes, --classes says 5' --classes 5 train.q_0
refuses another_rate_than_asked 'train.q_0: has 24000/320 labels per second, --frame-rate says 50/1' --frame-rate 50 train.q_0
sed -i 's/classes=4/classes=3/' "$t/r/train.q_0.meta"
refuses labels_outside_their_meta 'train.q_0:3:9: .3. is no label' train.q_0
fresh; sed -i '$d' "$t/r/train.q_0"
refuses lines_are_missing 'train.q_0: has 4 lines, but its .meta says 5 rows' train.q_0
fresh; sed -i 's/^5 5$/5 5 5/' "$t/r/train.q_1"
check_fails one_row_of_other_length_is_one_failure 1 'row-3: 2 labels in train.q_0, 3 in train.q_1' piped "cd $t/r && mert-tensor from-labels -q 'train.q_%d' > $t/x.mts"
others_go_on() { mert-tensor ls --max-failed 2 "$t/x.mts" | grep -c codes; }
check the_other_rows_go_on is 3 others_go_on
fresh; sed -i 's,24000/320,50/1,' "$t/r/train.q_1.meta"
refuses codebooks_of_other_rates 'train.q_0 has 24000/320 labels per second, train.q_1 has 50/1' "'train.q_%d'"
fresh; sed -i "s/manifest=.*/manifest=000000000000000a/" "$t/r/train.q_1.meta"
refuses codebooks_of_other_manifests "train.q_0 belongs to the manifest $manifest, train.q_1 to 000000000000000a" "'train.q_%d'"
refuses another_manifest 'train.q_1: belongs to the manifest 000000000000000a, this one is' --manifest train.tsv train.q_1
fresh; sed -i 's/1600/16000/' "$t/r/train.tsv"; sed -i 's/manifest=.*/manifest=0000000000000000/' "$t/r/train.q_0.meta"
refuses labels_that_do_not_cover_the_audio 'train.q_0:3: c d.wav has 5 labels, but its 16000 samples make 50' --manifest train.tsv --rate 24000 train.q_0
fresh; from "$t/a/train.q_0" | labels -o "$t/r/train.q_0.npy"; head -c 170 "$t/r/train.q_0.npy" > "$t/r/cut.npy"; cp "$t/r/train.q_0.npy.meta" "$t/r/cut.npy.meta"
refuses an_array_cut_short 'cut.npy: ' cut.npy
check_fails arrays_that_do_not_hold_the_classes 1 'x.npy: 70000 classes do not fit int16' piped "mert-tensor from-npy --kind codes --classes 70000 $golden/kmeans/labels.npy | mert-tensor labels --npy-type i16 -o $t/x.npy"
check_fails one_pattern 2 'one label file, or one pattern' mert-tensor from-labels
check_fails from_labels_full_disk 1 'No space left' piped "mert-tensor from-labels -q $t/one.x_0 > /dev/full"

# ---- dictionaries ----
fresh
three() { printf '0 1\n1 1\n2 1\n3 1\n' | cmp - "$1"; }
dict() { mert-tensor dict "$t/r/train.q_%d" && three "$t/r/dict.q_0.txt" && [ "$(wc -l < "$t/r/dict.q_1.txt")" -eq 20 ]; }
check dict_is_written_beside_labels dict
check dict_again_is_the_same dict
with_dict() { labels --dict -o "$t/d/train.q_%d" "$t/codes.mts" && three "$t/d/dict.q_0.txt" && cmp "$t/r/dict.q_1.txt" "$t/d/dict.q_1.txt"; }
mkdir -p "$t/d"
check labels_write_it_on_demand with_dict
check labels_with_their_dictionary_are_read piped "cd $t/d && mert-tensor from-labels --max-failed 1 'train.q_%d' | mert-tensor cmp --max-failed 2 - $t/codes.mts | grep -c equal | grep -qx 4"
printf '0 1\n1 1\n' > "$t/d/dict.q_0.txt"; rm -f "$t/d/train.q"*
check_fails labels_and_another_dictionary 1 'dict.q_0.txt: is there and lists 2 classes, these labels have 4' mert-tensor labels --max-failed 1 --dict -o "$t/d/train.q_%d" "$t/codes.mts"
check and_then_write_nothing piped "! ls $t/d | grep train"
printf '0 1\n2 1\n1 1\n3 1\n' > "$t/r/dict.q_0.txt"
ordered() { from "$t/r/train.q_0" | mert-tensor text --max-failed 1 2> /dev/null | sed -n 3p; }
check a_dictionary_orders_the_classes is '1 1 2 0 3' ordered
printf '0 1\n1 1\n2 1\n' > "$t/r/dict.q_0.txt"
refuses a_dictionary_of_other_classes 'train.q_0: its .meta says 4 classes, but dict.q_0.txt lists 3' train.q_0
rm "$t/r/train.q_0.meta"
refuses a_label_that_the_dictionary_lacks 'train.q_0:3:9: .3. is none of the 3 classes in dict.q_0.txt' train.q_0
: > "$t/r/dict.q_0.txt"
refuses an_empty_dictionary 'dict.q_0.txt: lists no class' train.q_0
printf 'C G7\nN C N\n' > "$t/r/train.chords"; printf 'N 1\nC 1\nG7 1\n' > "$t/r/dict.chords.txt"
check labels_may_have_names is '1 2
0 1 0' piped "mert-tensor from-labels -q $t/r/train.chords | mert-tensor text"
printf '0 1\n' > "$t/r/three.km"
check_fails dict_needs_the_classes 1 'number of classes is not known' mert-tensor dict -q "$t/r/three.km"
printf '1\n' > "$t/r/train"; printf 'classes=4\nrows=1\n' > "$t/r/train.meta"
check_fails dict_needs_a_name 1 'fairseq has label files called SPLIT.NAME' mert-tensor dict "$t/r/train"

# ---- for fairseq ----
fresh
export_it() { mert-tensor to-fairseq -q --max-failed 1 --manifest "$t/r/train.tsv" --rate 24000 -o "$t/fs" "$t/r/train.q_%d"; }
check fairseq_export export_it
check fairseq_manifest_without_the_failed_row is "/music
a.wav${tab}960
c d.wav${tab}1600
d.wav${tab}640
e.wav${tab}320" cat "$t/fs/train.tsv"
check fairseq_labels_without_it is '10 11 12
0 0 0 19 0
5 5
19' cat "$t/fs/train.q_1"
check fairseq_dictionary three "$t/fs/dict.q_0.txt"
reread() { mert-tensor from-labels --manifest "$t/fs/train.tsv" --rate 24000 "$t/fs/train.q_%d" > "$t/fs.mts" && mert-tensor ls -l "$t/fs.mts" | grep -c 'model=00000000000c0de5'; }
check fairseq_export_is_whole_and_verified is 4 reread
said() { mert-tensor to-fairseq --manifest "$t/r/train.tsv" -o "$t/fs" "$t/r/train.q_%d" 2> "$t/said"; [ $? -eq 1 ] && grep -q '1 of 5 rows have no labels and are left out' "$t/said"; }
check fairseq_counts_what_is_left_out said
from "$t/r/train.q_0" | labels -o "$t/r/train.arr.npy"
arr() { mert-tensor to-fairseq -q --max-failed 1 --manifest "$t/r/train.tsv" -o "$t/fs2" "$t/r/train.arr.npy" && cmp "$t/fs2/train.arr" "$t/fs/train.q_0" && three "$t/fs2/dict.arr.txt"; }
check fairseq_gets_text_of_arrays arr
printf 'C G7\n\nN C N\nN\nC\n' > "$t/r/train.chords"; printf 'N 5\nC 2\nG7 1\n' > "$t/r/dict.chords.txt"
named() { mert-tensor to-fairseq -q --max-failed 1 --manifest "$t/r/train.tsv" -o "$t/fs3" "$t/r/train.chords" && printf 'C G7\nN C N\nN\nC\n' | cmp - "$t/fs3/train.chords" && printf 'N 1\nC 1\nG7 1\n' | cmp - "$t/fs3/dict.chords.txt"; }
check fairseq_keeps_names named
sed '4s/.*//' "$t/r/train.chords" > "$t/r/train.less"; cp "$t/r/dict.chords.txt" "$t/r/dict.less.txt"
together() { mert-tensor to-fairseq -q --max-failed 2 --manifest "$t/r/train.tsv" -o "$t/fs5" "$t/r/train.less" "$t/r/train.q_%d" && [ "$(cut -f1 "$t/fs5/train.tsv" | tr '\n' ' ')" = '/music a.wav c d.wav e.wav ' ] && [ "$(cat "$t/fs5/train.q_0" | tr '\n' ,)" = '0 1 2,2 2 1 0 3,1,' ] && [ "$(wc -l < "$t/fs5/train.less")" -eq 3 ]; }
check fairseq_drops_a_row_from_all_sets together
check_fails fairseq_not_over_its_source 1 'train.tsv: would be replaced by its own export' mert-tensor to-fairseq --manifest "$t/r/train.tsv" -o "$t/r" "$t/r/train.q_0"
cp "$t/r/train.q_0" "$t/r/other.q_0"; cp "$t/r/train.q_0.meta" "$t/r/other.q_0.meta"
check_fails fairseq_finds_by_name 1 'other.q_0: labels of train.tsv are called train.NAME' mert-tensor to-fairseq --manifest "$t/r/train.tsv" -o "$t/fs4" "$t/r/other.q_0"
check_fails fairseq_other_manifest 1 'train.q_0: belongs to the manifest' piped "sed s/640/641/ $t/r/train.tsv > $t/b/train.tsv; mert-tensor to-fairseq --manifest $t/b/train.tsv -o $t/fs4 $t/r/train.q_0"
printf '\n\n\n\n\n' > "$t/r/train.none"; sed s/failed_rows=1/failed_rows=5/ "$t/r/train.q_0.meta" > "$t/r/train.none.meta"
check_fails fairseq_nothing_left 1 'none of its 5 rows has labels' mert-tensor to-fairseq --manifest "$t/r/train.tsv" -o "$t/fs4" "$t/r/train.none"
check fairseq_refused_writes_nothing piped "[ ! -e $t/fs4 ]"

# ---- joining ----
from "$t/a/train.q_0" > "$t/p0.mts"; from "$t/a/train.q_1" > "$t/p1.mts"
paste_two() { mert-tensor paste --max-failed 1 "$t/p0.mts" "$t/p1.mts" > "$t/p.mts" && labels -o "$t/c/p_%d" "$t/p.mts" && cmp "$t/a/train.q_0" "$t/c/p_0" && cmp "$t/a/train.q_1" "$t/c/p_1"; }
check paste_puts_codebooks_side_by_side paste_two
check paste_says_whose_they_are says '^0.*codes.u16.\[3,2\].0.24000/320.model=[0-9a-f]*[1-9a-f][0-9a-f]*.classes=4,20$' mert-tensor ls -l --max-failed 1 "$t/p.mts"
check paste_keeps_the_failed_item says '^1.row-1.failed' mert-tensor ls --max-failed 1 "$t/p.mts"
check paste_reads_a_pipe piped "cat $t/p1.mts | mert-tensor paste --max-failed 1 $t/p0.mts - | mert-tensor cmp --max-failed 2 - $t/p.mts > $t/x; grep -c equal $t/x | grep -qx 4"
check paste_has_all_provenance is 2 piped "mert-tensor ls -l --max-failed 1 $t/p.mts | grep -c from-labels"
again() { from "$t/c/p_%d" | mert-tensor ls -l --max-failed 1 | grep -o 'model=[0-9a-f]*' | sort -u > "$t/x"; mert-tensor ls -l --max-failed 1 "$t/p.mts" | grep -o 'model=[0-9a-f]*' | sort -u | cmp - "$t/x"; }
check labels_of_pasted_codes_are_theirs again
one_wrong() { sed "$1" "$t/a/train.q_1" > "$t/r/train.y"; sed "${2:-}" "$t/a/train.q_1.meta" > "$t/r/train.y.meta"; from "$t/r/train.y" > "$t/y.mts"; }
one_wrong 's/^5 5$/5 5 5 5/'
pasted_labels() { mert-tensor paste --max-failed 1 "$t/p0.mts" "$t/y.mts" | mert-tensor text --codebook 1 --max-failed 1 2> /dev/null | sed -n 4p; }
check paste_cuts_two_frames is '5 5' pasted_labels
paste_fails() { name=$1 pattern=$2; shift 2; check_fails "$name" 1 "$pattern" piped "mert-tensor paste $* > $t/x.mts"; }
paste_fails paste_refuses_more 'row-3: 2 frames in .*p0.mts and 4 in .*y.mts differ by more than 1' --tolerance 1 "$t/p0.mts" "$t/y.mts"
one_wrong '' 's,24000/320,50/1,'
paste_fails paste_refuses_another_rate 'row-0: frame rate is 24000/320 in .*p0.mts and 50/1 in .*y.mts' --fail-fast "$t/p0.mts" "$t/y.mts"
one_wrong '' 's/manifest=.*/manifest=000000000000000a/'
paste_fails paste_refuses_another_manifest "p0.mts is made of the manifest $manifest, .*y.mts of 000000000000000a" "$t/p0.mts" "$t/y.mts"
one_wrong '$d' 's/rows=5/rows=4/'
paste_fails paste_refuses_other_rows 'p0.mts is made of 5 rows, .*y.mts of 4' "$t/p0.mts" "$t/y.mts"
paste_fails paste_refuses_other_keys 'p0.mts has row 0 \(row-0\) where .*codes.mts has row 0 \(a.wav\)' "$t/p0.mts" "$t/codes.mts"
cp "$t/1.npy" "$t/3.npy"
from_npy() { (cd "$t" && mert-tensor from-npy --kind codes "$@"); }
from_npy 1.npy > "$t/x1.mts"; from_npy 1.npy 2.npy > "$t/x12.mts"; from_npy 1.npy 3.npy > "$t/x13.mts"
paste_fails paste_refuses_other_keys_later 'x12.mts has row 1 \(2.npy\) where .*x13.mts has row 1 \(3.npy\)' "$t/x12.mts" "$t/x13.mts"
no_end() { mert-tensor ls "$t/x.mts" > "$t/ls" 2>&1; grep -q '^0.1.npy.codes.*\[5,4\]' "$t/ls" && grep -q 'stops without an end record' "$t/ls"; }
check paste_that_broke_off_has_no_end no_end
paste_fails paste_takes_codes_only 'is pcm of f32; codes \[T, K\] can be pasted' formats/stream/valid/pcm.mts formats/stream/valid/pcm.mts
check_fails paste_two_at_least 2 'at least two streams' mert-tensor paste "$t/p0.mts"
check_fails paste_one_stdin 2 'standard input can be one' mert-tensor paste - -

# ---- measures of a teacher ---- The table of tests/unit/joint.c: z of eight frames, and y
printf '0 0 0 0 1\n1 2 2\n' > "$t/z.km"; printf 'classes=3\nrows=2\n' > "$t/z.km.meta"
printf '0 0 0 1 1\n1 0 1\n' > "$t/y.km"; printf 'classes=2\nrows=2\n' > "$t/y.km.meta"
mert-tensor from-labels "$t/z.km" > "$t/z.mts"; mert-tensor from-labels "$t/y.km" > "$t/y.mts"
check stat_against_a_reference is "codebook${tab}classes${tab}used${tab}frames${tab}entropy${tab}perplexity${tab}largest${tab}run${tab}verdict
0${tab}3${tab}3${tab}8${tab}1.5000${tab}2.83${tab}0.5000${tab}2.00${tab}all classes are used
codebook${tab}reference${tab}frames${tab}entropy${tab}ref_entropy${tab}mutual${tab}phone_purity${tab}cluster_purity${tab}pnmi
0${tab}0${tab}8${tab}1.5000${tab}1.0000${tab}0.3444${tab}0.7500${tab}0.6250${tab}0.3444" mert-tensor stat --against "$t/y.mts" "$t/z.mts"
check stat_against_itself says '^1.1.*.1.0000.1.0000.1.0000$' mert-tensor stat --max-failed 1 --against "$t/codes.mts" "$t/codes.mts"
check stat_against_every_pair is 4 piped "mert-tensor stat --max-failed 1 --against $t/codes.mts $t/codes.mts | sed '1,/^codebook.reference/d' | wc -l"
check stat_of_each_class is "0${tab}0${tab}4${tab}0.500000
0${tab}1${tab}2${tab}0.250000
0${tab}2${tab}2${tab}0.250000" piped "mert-tensor stat --each $t/z.mts | sed '1,/class.frames/d'"
verdict() { printf '%s\n' "$1" > "$t/v.km"; printf 'classes=%s\nrows=1\n' "$2" > "$t/v.km.meta"; mert-tensor from-labels "$t/v.km" | mert-tensor stat | sed -n '2s/.*\t//p'; }
check stat_names_a_constant_codebook is 'constant: always class 7' verdict '7 7 7 7 7 7' 9
check stat_names_a_nearly_constant_one is 'nearly constant: class 1 in 90.0% of the frames' verdict '1 1 1 1 1 0 1 1 1 1' 2
check stat_names_dead_classes is '3 of 5 classes are dead' verdict '3 0 0 3 0 3' 5
check stat_of_few_frames is 'fewer frames than classes' verdict '3 0' 5
check stat_of_nothing is 'empty: no frames' verdict '' 5 # unverified rows fail, verified ones are empty
constant() { printf '4 4 4 4 4\n4 4 4\n' > "$t/k.km"; printf 'classes=5\nrows=2\n' > "$t/k.km.meta"; mert-tensor from-labels "$t/k.km" > "$t/k.mts"; mert-tensor stat --against "$t/k.mts" "$t/z.mts" | tail -n 1; }
check stat_against_a_constant_reference is "0${tab}0${tab}8${tab}1.5000${tab}0.0000${tab}0.0000${tab}1.0000${tab}0.5000${tab}-" constant
check_fails stat_against_other_items 1 'z.mts is made of 2 rows, .*codes.mts of 5' mert-tensor stat --against "$t/codes.mts" "$t/z.mts"
check_fails stat_against_one_stream 2 '--against needs one stream of codes and one' mert-tensor stat --against "$t/y.mts" "$t/z.mts" "$t/z.mts"
mert-tensor from-npy --kind mel --key 1.npy "$golden/kmeans/centroids.npy" > "$t/mel.mts"
check_fails stat_against_features 1 '^mert-tensor: 1.npy: .*mel.mts: is mel of f32; codes' mert-tensor stat --against "$t/mel.mts" "$t/x1.mts"
