# Streams of every kind from the programs, cut, flipped and spliced at random (tests/programs/damage.c): all damage must
# be reported. MERT_DAMAGE: number of trials of each kind, default 2000.
. tests/shell
t=$TEST_TMP
# Two of each kind, of different items; the second one is three streams joined, with failed items and without a
# manifest.
mkdir -p "$t/music"
wavs "$t/music" 0 6
for f in "$t"/music/*/*.wav; do mv "$f" "$t/music/"; done
echo none > "$t/music/broken.wav"
cd "$t/music" || exit 1
pcm() { mert-decode -q --duration 0.06 --max-failed 1 "$@" 2> /dev/null; }
{ pcm 0000.wav broken.wav 0001.wav; } > ../pcm-a.mts
{ pcm 0002.wav 0003.wav; pcm broken.wav 0004.wav; pcm 0005.wav; } > ../pcm-b.mts
cd "$OLDPWD" || exit 1
for half in a b; do
    s() { "$@" -q --max-failed 9 "$t/pcm-$half.mts"; }
    s mert-cqt --bins 24 --bins-per-octave 12 > "$t/cqt-$half.mts"
    s mert-cqt --chroma 12 > "$t/chroma-$half.mts"
    s mert-mel --bins 20 > "$t/mel-$half.mts"
    s mert-mel --mfcc > "$t/mfcc-$half.mts"
done
mert-kmeans train -q --max-failed 9 -k 3 -o "$t/km" "$t/mfcc-a.mts" "$t/mfcc-b.mts"
for half in a b; do mert-kmeans assign -q --max-failed 9 -m "$t/km" "$t/mfcc-$half.mts" > "$t/codes-$half.mts"; done
printf 'one 1 2 3 4 5 6 7 8\ntwo 9 8 7 6 5 4 3 2 1 2 3 4\n' | text-stream hidden 2 2 75 > "$t/hidden-a.mts"
{ printf 'one 8 7 6 5\n' | text-stream hidden 2 2 75; cat formats/stream/valid/types-and-shapes.mts; } > "$t/hidden-b.mts"
made() { for f in pcm cqt chroma mel mfcc codes hidden; do for h in a b; do [ -s "$t/$f-$h.mts" ] || { echo "no $f-$h"; return 1; }; done; done; }
check streams_of_every_kind made
said() { damage 1 "${MERT_DAMAGE:-2000}" "$t"/*-[ab].mts formats/stream/valid/[!n]*.mts formats/stream/valid/names.mts; }
check nothing_is_silent said
