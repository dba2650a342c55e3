# mert-decode: the same samples as the ffmpeg program; segments are slices of the whole; faults are named; shards
# together give all items.
. tests/shell
t=$TEST_TMP
make_audio() { ffmpeg -nostdin -v error -y "$@"; }
samples() { mert-decode "$@" | zstd -dcq; }
# Two channels of sweeps over a chord, 3.5 s, at 44.1 kHz.
make_audio -f lavfi -i 'aevalsrc=0.3*sin(2*PI*(200+400*t)*t)+0.1*sin(2*PI*3000*t)|0.3*sin(2*PI*(900-90*t)*t)+0.05*sin(2*PI*55*t):s=44100:d=3.5' "$t/a.wav"
make_audio -i "$t/a.wav" "$t/a.flac" -c:a libmp3lame "$t/a.mp3" -c:a libvorbis "$t/a.ogg" -c:a libopus "$t/a.opus" -c:a aac "$t/a.m4a" \
    -c:a aac -movflags faststart "$t/a.fast.m4a"
six="wav flac mp3 ogg opus m4a"

# ---- the same samples as the ffmpeg program, with the settings of decode.h ----

mean='aformat=flt,pan=mono|c0=0.5*c0+0.5*c1'
reference() { make_audio -i "$1" -map 0:a:0 -af "$2" -f f32le "$t/reference.raw"; }
equals_reference() { samples "$@" > "$t/x.raw" && cmp "$t/x.raw" "$t/reference.raw"; }
for f in $six; do
    reference "$t/a.$f" "$mean,aresample=24000"
    # The length may differ by one sample because of rounding: both are cut to the shorter one.
    common() {
        samples "$t/a.$f" > "$t/whole.$f" || return
        a=$(wc -c < "$t/whole.$f") b=$(wc -c < "$t/reference.raw")
        [ $((a - b)) -ge -4 ] && [ $((a - b)) -le 4 ] && cmp -n $((a < b ? a : b)) "$t/whole.$f" "$t/reference.raw"
    }
    check "$f: the samples that ffmpeg gives" common
    reference "$t/a.$f" "$mean"
    check "$f: at its own rate, too" equals_reference --rate 0 "$t/a.$f"
done

# ---- segments ----

for f in $six; do
    slices() {
        [ -s "$t/whole.$f" ] || return
        for segment in "0 0.25 0 6000" "0.5 1.0 12000 24000" "1.23456 0.7 29629 16800" "3.25 0.1 78000 2400"; do
            set -- $segment
            tail -c +$(($3 * 4 + 1)) "$t/whole.$f" | head -c $(($4 * 4)) > "$t/slice.raw"
            [ "$(wc -c < "$t/slice.raw")" -eq $(($4 * 4)) ] || return
            samples --start "$1" --duration "$2" "$t/a.$f" | cmp - "$t/slice.raw" || return
        done
        tail -c +$((60000 * 4 + 1)) "$t/whole.$f" > "$t/slice.raw"
        samples --start 2.5 "$t/a.$f" | cmp - "$t/slice.raw" && samples --start 2.5 --duration 100 "$t/a.$f" | cmp - "$t/slice.raw"
    }
    check "$f: segments are slices of the whole, bit for bit" slices
done
check_fails "a segment that begins beyond the end" 1 'a.wav: the segment begins at 3.600 s, but there are only 3.500 s' sh -c "mert-decode --start 3.6 $t/a.wav > $t/x"

# ---- rates, channels, sample formats ----

rates="8000 16000 22050 24000 48000 96000"
outputs= back=
i=0
for rate in $rates; do
    outputs="$outputs -t 1.5 -ar $rate -c:a pcm_s24le $t/$rate.wav"
    back="$back -map $i:a -af $mean,aresample=24000 -f f32le $t/$rate.raw"
    inputs="${inputs:-} -i $t/$rate.wav"
    i=$((i + 1))
done
make_audio -i "$t/a.wav" $outputs
make_audio $inputs $back
for rate in $rates; do
    cp "$t/$rate.raw" "$t/reference.raw"
    check "$rate Hz, 24 bits" equals_reference "$t/$rate.wav"
done
count() { samples "$@" | wc -c; }
ceiling() { # ceil(n * 24000 / rate) samples, also of files shorter than the filter
    outputs=
    for n in 1 2 7 31 100 4097; do outputs="$outputs -af atrim=end_sample=$n $t/$n.wav"; done
    make_audio -f lavfi -i "aevalsrc=0.5:s=$1:d=1" $outputs
    for n in 1 2 7 31 100 4097; do [ "$(count "$t/$n.wav")" -eq $(((n * 24000 + $1 - 1) / $1 * 4)) ] || return; done
}
check "n samples of 44100 Hz become ceil(n * 24000 / 44100)" ceiling 44100
check "and of 11025 Hz" ceiling 11025
make_audio -f lavfi -i 'aevalsrc=0.6*sin(900*t)|0.1|-0.3|0.2*sin(90*t)|0.05|0.5:c=5.1:s=24000:d=1' -c:a pcm_f32le "$t/six.wav"
reference "$t/six.wav" 'pan=mono|c0=0.16666667*c0+0.16666667*c1+0.16666667*c2+0.16666667*c3+0.16666667*c4+0.16666667*c5'
close() { # within a rounding or two: largest difference of two files of floats
    samples "$1" > "$t/x.raw" && [ "$(wc -c < "$t/x.raw")" -eq "$(wc -c < "$t/reference.raw")" ] &&
        od -An -v -w4 -tf4 "$t/x.raw" | paste - "$t/reference.txt" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > m) m = d } END { exit !(NR > 0 && m < 1e-6) }'
}
od -An -v -w4 -tf4 "$t/reference.raw" > "$t/reference.txt"
check "5.1: the plain mean of six channels" close "$t/six.wav"
make_audio -i "$t/a.wav" -ar 24000 -ac 1 "$t/mono.wav"
make_audio -i "$t/mono.wav" -f s16le "$t/reference.raw"
check "16 bits at the same rate come out as they went in with --dtype i16" equals_reference --dtype i16 "$t/mono.wav"
make_audio -f lavfi -i 'aevalsrc=if(lt(n\,3)\,1.5\,if(lt(n\,6)\,-1.5\,0.5/32768)):s=24000:d=0.0005' -c:a pcm_f32le "$t/loud.wav"
clipped() { samples --dtype i16 "$t/loud.wav" | od -An -v -tx1 | tr -d ' \n' | grep -qx ff7fff7fff7f0080008000800*; }
check "--dtype i16 clips, and rounds halves to even" clipped

# ---- several streams, pictures ----

make_audio -f lavfi -i 'color=red:s=64x64:d=0.04:r=25' -frames:v 1 "$t/cover.png"
for f in mp3 flac m4a; do
    make_audio -i "$t/a.$f" -i "$t/cover.png" -map 0:a -map 1:v -c copy -disposition:v:0 attached_pic "$t/cover.$f"
    covered() { samples "$t/cover.$f" | cmp - "$t/whole.$f"; }
    check "$f with embedded cover art" covered
done
make_audio -f lavfi -i 'testsrc=s=64x64:r=10:d=2' -f lavfi -i 'sine=330:r=48000:d=2' -f lavfi -i 'sine=550:r=44100:d=2' -map 0 -map 1 -map 2 \
    -c:v mpeg4 -c:a:0 flac -c:a:1 pcm_s16le "$t/film.mkv"
for n in 0 1; do
    make_audio -i "$t/film.mkv" -map 0:a:$n -f f32le -c:a pcm_f32le -af aresample=24000 "$t/reference.raw"
    check "audio stream $n of a film" equals_reference --stream $n "$t/film.mkv"
done
check_fails "a stream that is not there" 1 'film.mkv: has 2 audio streams, there is no stream 2' sh -c "mert-decode --stream 2 $t/film.mkv > $t/x"
check_fails "a picture" 1 'cover.png: no audio stream' sh -c "mert-decode $t/cover.png > $t/x"

# ---- faults ----

fails() { check_fails "$1" 1 "$2" sh -c "mert-decode '$3' > '$t/x'"; }
cut_at() { head -c $(($(wc -c < "$1") * $2 / 100)) "$1"; }
for f in wav flac mp3 ogg opus fast.m4a; do
    cut_at "$t/a.$f" 60 > "$t/cut.$f"
    fails "$f cut off" "cut.$f: fault at [0-9]+\.[0-9]{3} s: " "$t/cut.$f"
done
for f in wav flac ogg mp3; do
    salvaged() {
        mert-decode --salvage "$t/cut.$f" 2> "$t/note" | zstd -dcq > "$t/x.raw" || return
        n=$(wc -c < "$t/x.raw")
        [ "$n" -gt 40000 ] && [ "$n" -lt 330000 ] && cmp -n $((n - 400)) "$t/x.raw" "$t/whole.$f" && grep -q "cut.$f: kept the first .*: fault at" "$t/note"
    }
    check "$f cut off: --salvage keeps what decodes before the fault" salvaged
done
for f in flac ogg; do
    damaged() { cp "$t/a.$f" "$t/flip.$f" && printf '\125\252\125' | dd of="$t/flip.$f" bs=1 seek=$(($(wc -c < "$t/a.$f") / 2)) conv=notrunc 2> "$t/dd"; }
    damaged
    fails "$f with three bytes changed in its middle" "flip.$f: fault at [12]\..* s: .*([Cc]hecksum|CRC|invalid)" "$t/flip.$f"
done
# Where the last page of the Ogg file begins: the offset of its last "OggS".
last_page=$(LC_ALL=C grep -aobF OggS "$t/a.ogg" | tail -n 1 | cut -d : -f 1)
head -c "$last_page" "$t/a.ogg" > "$t/end.ogg"
fails "Ogg without its last page" 'end.ogg: fault at .* s: an Ogg stream without its last page' "$t/end.ogg"
page=$(LC_ALL=C grep -aobF OggS "$t/a.ogg" | sed -n 4p | cut -d : -f 1) next=$(LC_ALL=C grep -aobF OggS "$t/a.ogg" | sed -n 5p | cut -d : -f 1)
{ head -c "$page" "$t/a.ogg"; tail -c +$((next + 1)) "$t/a.ogg"; } > "$t/gap.ogg"
fails "Ogg without a page of its middle" "gap.ogg: fault at .* s: an Ogg page is missing at byte $page" "$t/gap.ogg"
make_audio -f lavfi -i 'aevalsrc=if(eq(n\,12000)\,0/0\,0.1):s=24000:d=1' -c:a pcm_f32le "$t/nan.wav"
fails "NaN, with its place" 'nan.wav: fault at 0.500 s: sample 12000 is no finite number \(NaN\)' "$t/nan.wav"
make_audio -f lavfi -i 'aevalsrc=if(eq(n\,7)\,-1/0\,0.1):s=24000:d=1' -c:a pcm_f64le "$t/inf.wav"
fails "an infinite sample" 'inf.wav: fault at 0.000 s: sample 7 is no finite number \(infinite\)' "$t/inf.wav"
: > "$t/empty.wav"
fails "an empty file" 'empty.wav: is empty' "$t/empty.wav"
mkdir -p "$t/folder.wav"
fails "a folder" 'folder.wav: is a folder' "$t/folder.wav"
fails "no file" 'absent.wav: No such file' "$t/absent.wav"
echo 'It was a dark and stormy night.' > "$t/text.txt"
fails "a text" 'text.txt: .+' "$t/text.txt"
make_audio -f lavfi -i 'aevalsrc=0:s=24000:d=1' -af atrim=end_sample=0 "$t/none.wav"
fails "a header without samples" 'none.wav: ' "$t/none.wav"
printf 'ffconcat version 1.0\nfile %s\n' a.flac > "$t/list.txt"
fails "a playlist opens nothing else" "list.txt: .*not on whitelist" "$t/list.txt"
printf '#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n%s\n' "$t/a.mp3" > "$t/list.m3u8"
fails "nor does another kind of playlist" "list.m3u8: .*not on whitelist" "$t/list.m3u8"
fails "a name like an address is a name" 'http://localhost/a.mp3: No such file' http://localhost/a.mp3
tagged() { { cat "$t/a.mp3"; printf TAG; head -c 125 /dev/zero; head -c 700 /dev/zero; } > "$t/tag.mp3"; samples "$t/tag.mp3" | cmp - "$t/whole.mp3"; }
check "tags and zeros behind the last frame of an MP3 are no fault" tagged
piped_wav() { make_audio -i "$t/a.wav" -f wav - | cat > "$t/pipe.wav" && samples "$t/pipe.wav" | cmp - "$t/whole.wav"; }
check "a WAV written into a pipe, without a length" piped_wav

# ---- the stream, manifests, shards ----

others() {
    mert-decode "$t/a.wav" "$t/absent.wav" "$t/a.flac" > "$t/three.mts" 2> "$t/err"; rc=$?
    [ $rc -eq 1 ] && [ "$(grep -c '' "$t/err")" -eq 1 ] && mert-tensor check "$t/three.mts" > /dev/null 2>&1
    mert-tensor ls "$t/three.mts" > "$t/ls" 2> /dev/null
    [ $rc -eq 1 ] && grep -q 'a.flac' "$t/ls" && zstd -dcq "$t/three.mts" > "$t/x.raw" && cat "$t/whole.wav" "$t/whole.flac" | cmp - "$t/x.raw"
}
check "what fails is named, what follows is decoded, exit 1" others
mkdir -p "$t/m"
printf '%s\n' "$t" > "$t/m/train.tsv"
for f in $six; do printf 'a.%s\t%d\n' $f $(($(wc -c < "$t/whole.$f") / 4)) >> "$t/m/train.tsv"; done
whole_manifest() { for f in $six; do cat "$t/whole.$f"; done > "$t/all.raw"; samples --manifest "$t/m/train.tsv" | cmp - "$t/all.raw"; }
check "the rows of a manifest in their order" whole_manifest
for n in 1 4 7; do
    sharded() {
        r=0; while [ $r -lt $n ]; do mert-decode --manifest "$t/m/train.tsv" --shard $r/$n || return; r=$((r + 1)); done > "$t/shards.mts"
        zstd -dcq "$t/shards.mts" | cmp - "$t/all.raw" && mert-tensor check --complete "$t/shards.mts"
    }
    check "$n shards in a row are the whole" sharded
done
twice() { mert-decode --manifest "$t/m/train.tsv" > "$t/1.mts" && mert-decode --threads 3 --manifest "$t/m/train.tsv" > "$t/2.mts" && cmp "$t/1.mts" "$t/2.mts"; }
check "the same work gives the same bytes" twice
# Good and bad files, longer and shorter than the queues: the same bytes, messages and exit status for any number of
# threads.
make_audio -stream_loop 12 -i "$t/a.wav" -ar 22050 "$t/long.flac"
mixed() { mert-decode "$@" "$t/long.flac" "$t/a.mp3" "$t/cut.flac" "$t/absent.wav" "$t/nan.wav" "$t/long.flac" "$t/flip.ogg" "$t/a.opus" "$t/cover.png" "$t/2.wav"; }
for settings in "" --salvage "--start 0.4 --duration 1.1" "--duration 0" "--start 3.4 --rate 48000 --dtype i16" --fail-fast; do
    same() {
        mixed --threads 1 $settings > "$t/mixed.1" 2> "$t/mixed.err.1"; rc=$?
        for n in 2 9; do
            mixed --threads $n $settings > "$t/mixed.n" 2> "$t/mixed.err.n"
            [ $? -eq $rc ] && cmp "$t/mixed.1" "$t/mixed.n" && cmp "$t/mixed.err.1" "$t/mixed.err.n" || return
        done
        [ -s "$t/mixed.1" ] && grep -q absent.wav "$t/mixed.err.1" || [ "$settings" = --fail-fast ]
    }
    check "any number of threads: ${settings:-as it is}" same
done
# Pipes: the program does not wait for input after the segment, or after the first failure.
mkfifo "$t/pipe"
piped() { # FEED COMMAND...: while the writer of the pipe stays
    { sh -c "$1"; exec sleep 30; } > "$t/pipe" & feeder=$!
    shift
    timeout 20 "$@"; rc=$?
    kill $feeder; wait $feeder 2> /dev/null
    return $rc
}
segment_of_pipe() {
    mert-decode --duration 0.5 "$t/a.wav" | zstd -dcq > "$t/slice.raw"
    for n in 1 3; do
        piped "cat '$t/a.wav'" mert-decode --threads $n --duration 0.5 "$t/pipe" > "$t/pipe.mts" && zstd -dcq "$t/pipe.mts" | cmp - "$t/slice.raw" || return
    done
}
check "a segment of a pipe that stays open" segment_of_pipe
stops() { piped : mert-decode --threads 3 --fail-fast "$t/absent.wav" "$t/pipe" > "$t/x" 2> "$t/err"; [ $? -eq 1 ] && grep -q 'absent.wav: No such file' "$t/err"; }
check "--fail-fast while a pipe is waited for" stops
sed 's/a.mp3/gone.mp3/' "$t/m/train.tsv" > "$t/m/gone.tsv"
check_fails "a row whose file is missing" 1 'gone.mp3: No such file' sh -c "mert-decode --manifest $t/m/gone.tsv > $t/gone.mts"
gone() { zstd -dcq "$t/gone.mts" > "$t/x.raw" && cat "$t/whole.wav" "$t/whole.flac" "$t/whole.ogg" "$t/whole.opus" "$t/whole.m4a" | cmp - "$t/x.raw"; }
check "the others are there" gone
sed '2s/[0-9]*$/83999/' "$t/m/train.tsv" > "$t/m/count.tsv"
check_fails "a row of another length than the manifest has" 1 'a.wav: the manifest says 83999 samples, decoded at 24000 Hz there are 84000' \
    sh -c "mert-decode --manifest $t/m/count.tsv > $t/x"
accepted() { samples --no-check-length --manifest "$t/m/count.tsv" | cmp - "$t/all.raw"; }
check "unless --no-check-length accepts it" accepted
segments() { [ "$(count --manifest "$t/m/train.tsv" --start 1 --duration 0.5)" -eq $((6 * 12000 * 4)) ]; }
check "segments of a manifest's rows" segments
check_fails "a manifest that is none" 1 'a.wav:1: ' sh -c "mert-decode --manifest $t/a.wav > $t/x"
check_fails "no manifest" 1 'none.tsv: No such file' sh -c "mert-decode --manifest $t/none.tsv > $t/x"

for use in '' "--manifest $t/m/train.tsv $t/a.wav" "--manifest $t/m/train.tsv --shard 2/2" "--manifest $t/m/train.tsv --shard x" \
    "--shard 0/2 $t/a.wav" "--rate 12 $t/a.wav"; do
    check_fails "wrong use: $(echo "$use" | sed "s|$t/||g")" 2 'try' sh -c "mert-decode $use > $t/x"
done
full() { mert-decode "$t/a.wav" > /dev/full; }
if [ -w /dev/full ]; then check_fails "a full disk" 1 'No space left' full; fi
quiet() { mert-decode "$t/a.wav" "$t/a.flac" "$t/a.mp3" 2> "$t/err" | head -c 100 > /dev/null && [ ! -s "$t/err" ]; }
check "a reader that leaves is no error" quiet
mkfifo "$t/row.wav"
printf '%s\nrow.wav\t84000\na.wav\t84000\n' "$t" > "$t/fifo.tsv"
check_fails "a row of a manifest that is a FIFO is not opened" 1 'row.wav: is a FIFO, not a regular file' sh -c "mert-decode -q --manifest $t/fifo.tsv > $t/x"
follows() { mert-decode "$t/a.wav" | zstd -dcq > "$t/alone.raw" && zstd -dcq "$t/x" | cmp - "$t/alone.raw"; }
check "the next row is decoded" follows
