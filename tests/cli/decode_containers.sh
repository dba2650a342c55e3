# Sample counts from containers: granule positions and links of Ogg, info frames of MP3, FLAC cut out of a longer file;
# also through pipes.
. tests/shell
t=$TEST_TMP
make_audio() { ffmpeg -nostdin -v error -y "$@" < /dev/null; }
samples() { mert-decode --rate 0 "$@" | zstd -dcq; }
count() { n=$(samples "$@" | wc -c) && echo $((n / 4)); }
counts() { # FILE N
    [ "$(count "$1")" -eq "$2" ]
}
fails() { check_fails "$1" 1 "$2" sh -c "mert-decode '$3' > '$t/x'"; }
# N samples of noise, so that frames are full, at a rate.
outputs=
lengths="1 2 150 804 4907 22050 44100 70000"
for n in $lengths; do outputs="$outputs -af atrim=end_sample=$n $t/$n.wav"; done
make_audio -f lavfi -i 'anoisesrc=a=0.3:r=44100:d=2:seed=3' $outputs

# ---- Ogg ----

vorbis() { for n in $lengths; do make_audio -i "$t/$n.wav" -c:a libvorbis "$t/$n.ogg" && counts "$t/$n.ogg" $n || return; done; }
check "Vorbis of one page and of more: what was encoded" vorbis
flac_in_ogg() { for n in $lengths; do make_audio -i "$t/$n.wav" -c:a flac "$t/$n.oga" && counts "$t/$n.oga" $n || return; done; }
check "FLAC in Ogg, too" flac_in_ogg
make_audio -i "$t/44100.wav" -ar 48000 -c:a libopus "$t/a.opus" -ar 48000 -c:a libopus -b:a 20k -ac 1 -t 0.7 "$t/b.opus"
check "Opus without its pre-skip" counts "$t/a.opus" 48000
make_audio -i "$t/22050.wav" -c:a libvorbis -ac 2 -fflags +bitexact "$t/2.ogg"
make_audio -i "$t/44100.wav" -c:a libvorbis -fflags +bitexact "$t/1.ogg"
links() { # A B: a chain is its links, one behind the other, whatever they are
    cat "$1" "$2" > "$t/chain.${1##*.}" && { samples "$1" && samples "$2"; } > "$t/links.raw" && samples "$t/chain.${1##*.}" | cmp - "$t/links.raw"
}
check "chained Vorbis: a link has nothing of the one before" links "$t/44100.ogg" "$t/70000.ogg"
check "with equal serial numbers and other channels" links "$t/1.ogg" "$t/2.ogg"
check "chained Opus" links "$t/a.opus" "$t/b.opus"
total() { mert-manifest --from-headers --rate 48000 --valid-percent 0 --ext opus --out "$t/m.headers" "$t" && mert-manifest --rate 48000 --valid-percent 0 --ext opus --out "$t/m.decoded" "$t" &&
    cmp "$t/m.headers/train.tsv" "$t/m.decoded/train.tsv" && grep -q "^chain.opus.81600$" "$t/m.decoded/train.tsv"; }
check "and the manifest counts all its links, by headers, too" total
make_audio -i "$t/22050.wav" -ar 22050 -c:a libvorbis "$t/slow.ogg"
cat "$t/44100.ogg" "$t/slow.ogg" > "$t/rates.ogg"
fails "links of different rates" 'rates.ogg: fault at 1.000 s: the sample rate changes from 44100 to 22050 Hz' "$t/rates.ogg"
last_page=$(LC_ALL=C grep -aobF OggS "$t/70000.ogg" | tail -n 1 | cut -d : -f 1)
{ head -c "$last_page" "$t/70000.ogg"; cat "$t/44100.ogg"; } > "$t/gap.ogg"
fails "a link cut off, and another behind it" "gap.ogg: fault at [01]\..* s: an Ogg stream without its last page at byte $last_page" "$t/gap.ogg"
make_audio -f lavfi -i testsrc=s=64x64:r=10:d=1 -c:v libtheora "$t/silent.ogv"
cat "$t/44100.ogg" "$t/silent.ogv" > "$t/silent.ogg"
# Cut off in the second link's head, which FFmpeg then does not open: as a file, through a pipe, and with --salvage.
pages=$(LC_ALL=C grep -aobF OggS "$t/b.opus" | cut -d : -f 1 | tr '\n' ' ')
cut_links() {
    for n in $pages $((${pages%% *} + 30)); do
        [ "$n" -gt 0 ] || continue
        { cat "$t/a.opus"; head -c "$n" "$t/b.opus"; } > "$t/cut_link.opus"
        for from in "$t/cut_link.opus" /dev/stdin; do
            mert-decode --rate 0 "$from" > "$t/x" 2> "$t/said" < "$t/cut_link.opus"
            [ $? -eq 1 ] && [ "$(wc -l < "$t/said")" -eq 1 ] && grep -q 'fault at 1\.[0-9]* s: an Ogg .* at byte [0-9]*$' "$t/said" || { cat "$t/said"; return 1; }
            mert-decode --rate 0 --salvage "$from" 2> "$t/said" < "$t/cut_link.opus" | zstd -dcq > "$t/x" && [ "$(wc -c < "$t/x")" -ge $((48000 * 4)) ] || return
        done
    done
}
check "a link cut off at any of its pages, or in its first" cut_links
fails "a link without audio" 'silent.ogg: fault at 1.000 s: link 2 of an Ogg chain: no audio stream in it' "$t/silent.ogg"
make_audio -f lavfi -i testsrc=s=64x64:r=10:d=1 -i "$t/44100.wav" -c:v libtheora -c:a libvorbis "$t/film.ogv"
check "beside pictures" counts "$t/film.ogv" 44100

# ---- MP3 ----

make_audio -i "$t/44100.wav" -c:a libmp3lame -id3v2_version 0 -write_id3v1 0 "$t/a.mp3"
samples "$t/a.mp3" > "$t/mp3.raw"
same_mp3() { [ "$(wc -c < "$t/mp3.raw")" -eq $((44100 * 4)) ] && samples "$1" | cmp - "$t/mp3.raw"; }
tag() { printf 'ID3\3\0\0\0\0\0\12----------'; }
{ tag; head -c 10 /dev/zero; cat "$t/a.mp3"; } > "$t/off.mp3"
check "MP3 with bytes between tag and frames" same_mp3 "$t/off.mp3"
head -c $(($(wc -c < "$t/off.mp3") / 2)) "$t/off.mp3" > "$t/off.cut.mp3"
fails "and cut off" 'off.cut.mp3: fault at 0\..* s: the file ends here: the frame in front promises [0-9]* frames, [0-9]* are there' "$t/off.cut.mp3"
# One frame of 417 or 418 bytes less: detected by the declared number of bytes.
head -c $(($(wc -c < "$t/a.mp3") - 300)) "$t/a.mp3" > "$t/end.mp3"
fails "cut off in its last frame" 'end.mp3: fault at 0.9.* s: the file ends here: the frame in front promises [0-9]* frames, [0-9]* are there' "$t/end.mp3"
check_fails "and by headers alone" 1 'mert-manifest: off.cut.mp3: fault at 0\..* s: the file ends here: the frame in front promises' \
    sh -c "mkdir '$t/headers' && cp '$t/off.cut.mp3' '$t/headers' && mert-manifest -q --from-headers --valid-percent 0 --out '$t/headers/m' '$t/headers'"
ape() { head -c 20000 /dev/zero; printf 'APETAGEX\320\7\0\0\100\116\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'; } # 20032 bytes: 0x4e40
{ cat "$t/a.mp3"; ape; printf TAG; head -c 125 /dev/zero; } > "$t/ape.mp3"
check "MP3 with large tags behind" same_mp3 "$t/ape.mp3"
{ cat "$t/a.mp3"; head -c 30000 "$t/44100.wav" | tr '\377' x; } > "$t/garbage.mp3"
check "and with other bytes" same_mp3 "$t/garbage.mp3"
make_audio -i "$t/44100.wav" -ar 8000 -c:a libmp3lame "$t/8000.mp3"
check "MP3 at 8 kHz" counts "$t/8000.mp3" 8000
# Four headers of layer III without a bit rate, 700 bytes apart.
for i in 1 2 3 4; do printf '\377\373\0\300'; head -c 696 /dev/zero; done > "$t/free.mp3"
fails "free-format MP3" 'free.mp3: free-format MP3 is not read by FFmpeg' "$t/free.mp3"

# ---- FLAC ----

make_audio -i "$t/70000.wav" "$t/70000.flac"
n=$(($(wc -c < "$t/70000.flac") - 2))
{ head -c $n "$t/70000.flac"; printf '\0\0'; } > "$t/crc.flac"
fails "FLAC, only the checksum of its last frame wrong" 'crc.flac: fault at 1.* s: .*(CRC|[Cc]hecksum)' "$t/crc.flac"
# One byte inverted in the middle: the error names the frame and its position.
{ head -c $((n / 2)) "$t/70000.flac"; tail -c +$((n / 2 + 1)) "$t/70000.flac" | head -c 1 | tr '\000-\377' '\200-\377\000-\177'; tail -c +$((n / 2 + 2)) "$t/70000.flac"; } > "$t/flip.flac"
fails "FLAC, a byte in the middle wrong" 'flip.flac: fault at 0\..* s: the packet at byte [0-9]* does not decode' "$t/flip.flac"
check_fails "which mert-manifest --verify names, too" 1 'mert-manifest: flip.flac: fault at 0\..* s: the packet at byte [0-9]* does not decode' \
    sh -c "mkdir '$t/flipped' && cp '$t/flip.flac' '$t/flipped' && mert-manifest --verify --valid-percent 0 --out '$t/flipped/m' '$t/flipped'"
mkdir -p "$t/parts"
make_audio -i "$t/70000.wav" -f segment -segment_time 0.5 "$t/parts/%d.flac"
parts() { # what the manifest has is what decodes, and the rest is named by both
    for how in '' --salvage --from-headers; do
        mert-manifest $how --rate 44100 --valid-percent 0 --out "$t/p" "$t/parts" 2> "$t/err"; [ $? -eq 1 ] || [ -n "$how" ] || return
        mert-decode --rate 44100 --salvage --manifest "$t/p/train.tsv" > "$t/x" 2> "$t/x.err" || return
        case $how in --salvage) grep -q '^3\.flac' "$t/p/train.tsv" || return ;; '') grep -q '3.flac: fault at .*the file ends here: .* (a piece of a longer file, with its header? --salvage takes what is there)$' "$t/err" || return ;; esac
    done
}
last=$(ls "$t/parts" | sort -n | tail -n 1)
[ "$last" = 3.flac ] || echo "# the last part is $last"
check "FLAC cut out of a longer file" parts
unknown() { make_audio -i "$t/70000.wav" -f flac - | cat > "$t/unknown.flac" && counts "$t/unknown.flac" 70000 && { tag; cat "$t/70000.flac"; } > "$t/tag.flac" && counts "$t/tag.flac" 70000; }
check "FLAC of unknown length, and behind a tag" unknown

# ---- Musepack ----

# A tone of 1,500 samples, encoded by mpcenc: the decoder gives 481 samples before the first one, and whole frames.
base64 -d > "$t/tone.mpc" << END
TVBDS1NIDfDZP5oIi1wABQtSRwwBAAAAAAAAAABFSQdRAR4BU08IgiMAAABBUIIb4Bt2mfSCSSRwGpwBw1QABLgB1QFArwB/v9/z9f/mmatHIi3EKIYNzwK86JDgjwKqkD1zg4oblYEU
GOTQSUmIyRFLUg3xyOWB8+/fulhNs6j2xHTdfR2rQxHzhBYVX+AmWToBbvGAHfxCh4vQGm9AAPVOfsW0GwMB2XupH1vrnZF3gEFH8dXQCYlfYy2vx0IgGU60DwDRNlE5T/ic/Opx880R
lav7gQQAiKAdWMNeNONGRHufDH+K/6oWr/UFdn9RXmB8UU/CNg461/MPBrugs7t23qynbbonHvn0N4w/ADIoUBQGArUCgMAKBQaNE84mJFoYjjmUeFd3dxBBBBBBBBBBBAgMOBg6X49l
cX//5pERfRXH2n/aU1QGARLAU0UD
END
check "Musepack SV8: what was encoded" counts "$t/tone.mpc" 1500
{ cat "$t/tone.mpc"; head -c 3000 /dev/zero; } > "$t/tail.mpc"
check "and with zeros behind it" counts "$t/tail.mpc" 1500
musepack_by_headers() { mkdir -p "$t/mpc" && cp "$t/tail.mpc" "$t/mpc" && mert-manifest --from-headers --rate 44100 --valid-percent 0 --out "$t/mpc/m" "$t/mpc" && grep -q "^tail.mpc.1500$" "$t/mpc/m/train.tsv"; }
check "by its header, too" musepack_by_headers

# ---- pipes ----

through_pipe() { # what a file gives it gives through a pipe
    mkfifo "$t/pipe.$1"
    cat "$t/$1" > "$t/pipe.$1" &
    samples "$t/$1" > "$t/file.raw"
    samples "$t/pipe.$1" | cmp - "$t/file.raw"; rc=$?
    wait $!
    return $rc
}
for f in 44100.ogg 804.ogg 44100.oga chain.ogg chain.opus a.opus a.mp3 70000.flac 70000.wav; do check "$f through a pipe" through_pipe $f; done
mkfifo "$t/pipe"
check_fails "damage that comes through a pipe" 1 'pipe: fault at [01]\..* s: an Ogg stream without its last page' sh -c "cat '$t/gap.ogg' > '$t/pipe' & mert-decode '$t/pipe' > '$t/x'"
# A segment of a pipe that stays open does not wait for more data.
make_audio -stream_loop 1 -i "$t/44100.wav" -t 0.95 -ac 2 "$t/short.wav"
open_pipe() {
    { cat "$t/short.wav"; exec sleep 60; } > "$t/pipe" & feeder=$!
    timeout 50 mert-decode --duration 0.5 "$t/pipe" > "$t/pipe.mts"; rc=$?
    kill $feeder; wait $feeder 2> /dev/null
    mert-decode --duration 0.5 "$t/short.wav" | zstd -dcq > "$t/slice.raw"
    [ $rc -eq 0 ] && zstd -dcq "$t/pipe.mts" | cmp - "$t/slice.raw"
}
check "a segment of a short pipe that stays open" open_pipe
