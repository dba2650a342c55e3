# mert-decode and mert-manifest on containers: whole files can be decoded, also from a pipe; truncated ones are
# detected, with both sizes; both programs agree.
. tests/shell
t=$TEST_TMP
k=$t/kinds
mkdir -p "$k" "$t/cut" "$t/odd"
make_audio() { ffmpeg -nostdin -v error -y "$@"; }
samples() { mert-decode --rate 0 "$@" | zstd -dcq; }
count() { samples "$@" | wc -c; }
make_audio -f lavfi -i 'aevalsrc=0.3*sin(2*PI*(200+400*t)*t)|0.2*sin(2*PI*(900-90*t)*t):s=44100:d=1.5' "$t/source.wav"
# NAME and ffmpeg's options; each is written into a file and, as pipe-NAME, into a pipe. Formats that this ffmpeg cannot
# write are left out.
make_kind() {
    name=$1; shift
    ffmpeg -nostdin -v error -y -i "$t/source.wav" "$@" "$k/$name" 2> /dev/null || rm -f "$k/$name"
}
make_pipe() {
    name=$1; shift
    ffmpeg -nostdin -v error -y -i "$t/source.wav" "$@" - 2> /dev/null | cat > "$k/pipe-$name"
    [ -s "$k/pipe-$name" ] || rm "$k/pipe-$name"
}
while read -r name options; do make_kind $name $options; done << END
s16.wav
s24.wav -c:a pcm_s24le
f64.wav -c:a pcm_f64le
mulaw.wav -c:a pcm_mulaw
adpcm.wav -c:a adpcm_ms
long.wav -rf64 always
s16.w64
s24.aiff -c:a pcm_s24be
f32.aifc -c:a pcm_f32be -f aiff
s16.au
s16.caf
alac.caf -c:a alac
aac.m4a
fast.m4a -movflags faststart
frag.m4a -movflags frag_keyframe+empty_moov -frag_duration 500000
pcm.mov -c:a pcm_s16le
a.wma
pcm.avi -c:a pcm_s16le
aac.flv -c:a aac
opus.webm
flac.mka -c:a flac
a.ac3
a.eac3
a.aac
a.tta
a.wv
ac3.rm -c:a ac3
END
while read -r name options; do make_pipe $name $options; done << END
s16.wav -f wav
s16.au -f au
s16.caf -f caf
frag.m4a -f mp4 -movflags frag_keyframe+empty_moov
a.wma -f asf
pcm.avi -f avi -c:a pcm_s16le
aac.flv -f flv -c:a aac
aac.mka -f matroska -c:a aac
a.tta -f tta
a.wv -f wv
END
for f in "$k"/*; do
    kind=${f##*/}
    whole() {
        mert-decode --rate 0 "$f" > "$t/x.mts" && n=$(zstd -dcq "$t/x.mts" | wc -c) && [ "$n" -gt 240000 ] &&
            make_audio -i "$f" -ac 1 -f f32le "$t/reference.raw" && [ "$n" -eq "$(wc -c < "$t/reference.raw")" ]
    }
    check "whole: $kind" whole
done

# ---- cut ----

# Cut in the middle, and 100 bytes before the end, where some formats have only their index.
for kind in s16.wav s24.wav f64.wav mulaw.wav adpcm.wav long.wav s16.w64 s24.aiff f32.aifc s16.au s16.caf alac.caf aac.m4a fast.m4a frag.m4a pcm.mov a.wma pcm.avi aac.flv \
    opus.webm flac.mka a.ac3 a.eac3 a.aac a.tta a.wv ac3.rm; do
    [ -f "$k/$kind" ] || continue
    cut_off() {
        size=$(wc -c < "$k/$kind")
        for keep in $((size / 3)) $((size / 2 + 7)) $((size * 4 / 5)); do
            head -c $keep "$k/$kind" > "$t/cut/$kind"
            mert-decode --rate 0 "$t/cut/$kind" > "$t/x.mts" 2> "$t/err"; rc=$?
            cat "$t/err"
            [ $rc -eq 1 ] && [ "$(grep -c '' "$t/err")" -eq 1 ] && grep -qE "$kind: (fault at .*|cannot be opened|its streams)" "$t/err" || return
        done
    }
    check "cut: $kind" cut_off
done
cut_says() { # NAME BYTES PATTERN
    head -c $2 "$k/$1" > "$t/cut/$1"
    check_fails "cut: $1 after $2 bytes, with both figures" 1 "$1: fault at [0-9.]+ s: the file ends here: $3" sh -c "mert-decode --rate 0 '$t/cut/$1' > '$t/x.mts'"
}
less() { echo $(($(wc -c < "$k/$1") - $2)); }
cut_says s16.wav "$(less s16.wav 1)" 'its data chunk promises 264600 bytes, 264599 are there'
cut_says long.wav "$(less long.wav 1)" 'its data chunk promises 264600 bytes, 264599 are there'
cut_says s16.w64 100000 'its data chunk promises 264600 bytes, [0-9]+ are there'
cut_says s24.aiff 100000 'its SSND chunk promises 396908 bytes, [0-9]+ are there'
cut_says s16.au 100000 'its header promises 264600 bytes, [0-9]+ are there'
cut_says s16.caf 100000 'its data chunk promises 26460[0-9] bytes, [0-9]+ are there'
cut_says fast.m4a "$(less fast.m4a 1000)" 'its box mdat promises [0-9]+ bytes, [0-9]+ are there'
cut_says frag.m4a 15000 'its box [a-z]+ promises [0-9]+ bytes, [0-9]+ are there'
cut_says a.wma 15000 'its data object promises [0-9]+ packets of [0-9]+ bytes, [0-9]+ are there'
cut_says pcm.avi 100000 'its list of packets promises [0-9]+ bytes, [0-9]+ are there'
cut_says aac.flv 15000 'its last tag promises [0-9]+ bytes, [0-9]+ are there'
cut_says opus.webm 15000 'its segment promises [0-9]+ bytes, [0-9]+ are there'
cut_says a.aac 15100 'its last frame, at byte [0-9]+, promises [0-9]+ bytes, [0-9]+ are there'
cut_says a.ac3 15000 'its last frame, at byte [0-9]+, promises [0-9]+ bytes, [0-9]+ are there'
between_tags() { # the last tag that is whole ends where the file does
    between=$(LC_ALL=C od -An -v -tu1 -w1 -j 9 "$k/aac.flv" | awk '{ b[NR + 8] = $1 } END { for (at = 13; at + 11 < 15000;) { at += 15 + b[at + 1] * 65536 + b[at + 2] * 256 + b[at + 3] } print at }')
    head -c "$between" "$k/aac.flv" > "$t/cut/between.flv"
    mert-decode "$t/cut/between.flv" > "$t/x.mts" 2> "$t/err"; [ $? -eq 1 ] && grep -qE 'the file ends here: its metadata promise' "$t/err"
}
[ ! -f "$k/aac.flv" ] || check "cut: FLV between two tags" between_tags
salvaged() {
    head -c 100044 "$k/s16.wav" > "$t/cut/keep.wav"
    mert-decode --rate 0 --salvage "$t/cut/keep.wav" 2> "$t/err" | zstd -dcq > "$t/x.raw"
    samples "$k/s16.wav" | head -c "$(wc -c < "$t/x.raw")" | cmp - "$t/x.raw" && [ "$(wc -c < "$t/x.raw")" -ge 99000 ] && grep -q 'kept the first .*its data chunk promises' "$t/err"
}
check "--salvage keeps what is there, and says so" salvaged

# ---- the layout of samples in WAV ----

# 24-bit samples in the upper part of 4 bytes (WAVEFORMATEXTENSIBLE); RIFX; and headers that contradict themselves.
number4() { awk -v n="$1" 'BEGIN { for (i = 0; i < 4; i++) { printf "\\%03o", n % 256; n = int(n / 256) } }'; }
wav() { # FORMAT-CHUNK-AS-OCTAL LENGTH-OF-IT < SAMPLES
    cat > "$t/samples"
    n=$(wc -c < "$t/samples")
    printf "RIFF$(number4 $((n + 20 + $2)))WAVEfmt $(number4 "$2")$1data$(number4 "$n")"
    cat "$t/samples"
}
make_audio -i "$t/source.wav" -ac 1 -ar 8000 "$t/odd/plain.wav"
make_audio -i "$t/odd/plain.wav" -f s32le "$t/s32" -f s16be "$t/s16be" -f s16le "$t/s16le"
samples "$t/odd/plain.wav" > "$t/plain.raw"
rate='\100\037\000\000' guid='\001\000\000\000\000\000\020\000\200\000\000\252\000\070\233\161'
extensible() { wav "\376\377\001\000$rate\000\175\000\000\004\000\040\000\026\000\\$1\000\004\000\000\000$guid" 40 < "$t/s32" > "$t/odd/$2"; }
plain_wav() { wav "\\$1\000\001\000$rate$rate\\$2\000\\$3\000" 16; } # TAG BLOCK BITS, in octal
same_as_plain() { samples "$t/odd/$1" | cmp - "$t/plain.raw"; }
extensible 030 24in32.wav
check "24 bits in 4 bytes, by the header's word" same_as_plain 24in32.wav
counted() { rm -rf "$t/m"; mkdir "$t/m"; cp "$t/odd/$1" "$t/m/"; mert-manifest --rate 8000 --valid-percent 0 --out "$t/m/out" "$t/m" && [ $(($(sed 1d "$t/m/out/train.tsv" | cut -f 2) * 4)) -eq "$(wc -c < "$t/plain.raw")" ]; }
check "and counted so" counted 24in32.wav
extensible 024 20in32.wav
check "20 bits in 4 bytes" same_as_plain 20in32.wav
extensible 020 16in32.wav
check "16 bits in 4 bytes" same_as_plain 16in32.wav
extensible 000 0in32.wav
check "a count of valid bits that is not told" same_as_plain 0in32.wav
plain_wav 001 002 014 < "$t/s16le" > "$t/odd/12bit.wav"
check "12 bits in 2 bytes" same_as_plain 12bit.wav
n=$(wc -c < "$t/s16be")
be4() { awk -v n="$1" 'BEGIN { for (i = 3; i >= 0; i--) printf "\\%03o", int(n / 256 ^ i) % 256 }'; }
{ printf "RIFX$(be4 $((n + 36)))WAVEfmt \000\000\000\020\000\001\000\001$(be4 8000)$(be4 16000)\000\002\000\020data$(be4 "$n")"; cat "$t/s16be"; } > "$t/odd/rifx.wav"
check "RIFX is big-endian" same_as_plain rifx.wav
extensible 050 40in32.wav
plain_wav 001 004 030 < "$t/s32" > "$t/odd/24-4.wav"
plain_wav 001 003 020 < "$t/s32" > "$t/odd/16-3.wav"
plain_wav 003 002 020 < "$t/s16le" > "$t/odd/half.wav"
contradicts() { check_fails "a header that contradicts itself: $1" 1 "$1: .*$2" sh -c "mert-decode --rate 0 '$t/odd/$1' > '$t/x.mts'"; }
contradicts 40in32.wav '40 valid bits in samples of 32 bits'
contradicts 24-4.wav 'samples of 24 bits, but 4 bytes for a frame of 1 channel'
contradicts 16-3.wav 'samples of 16 bits, but 3 bytes for a frame of 1 channel'
contradicts half.wav 'samples of 16 bits that are floats'
# The same header read through a pipe, also byte by byte.
piped() { dd bs=1 if="$t/odd/$1" 2> /dev/null | mert-decode --rate 0 /dev/stdin > "$t/x.mts" && zstd -dcq "$t/x.mts" | cmp - "$t/plain.raw"; }
for odd in plain 24in32 20in32 12bit rifx; do check "$odd.wav through a pipe" piped $odd.wav; done
check_fails "a header that contradicts itself, through a pipe" 1 'stdin: .*samples of 24 bits, but 4 bytes' sh -c "cat '$t/odd/24-4.wav' | mert-decode --rate 0 /dev/stdin > '$t/x.mts'"
# RF64 has a count of samples beside their size: wrong here (10 times too many), the size is right.
{ printf "RF64\377\377\377\377WAVEds64\034\000\000\000$(number4 0)$(number4 0)$(number4 "$n")$(number4 0)$(number4 $((n * 5)))$(number4 0)$(number4 0)"
  printf "fmt \020\000\000\000\001\000\001\000$rate$rate\002\000\020\000data\377\377\377\377"; cat "$t/s16le"; } > "$t/odd/rf64.wav"
check "RF64 with a count that is wrong" same_as_plain rf64.wav
check "and through a pipe" piped rf64.wav
make_audio -i "$t/odd/plain.wav" "$t/odd/plain.aiff"
# COMM's count of frames is at byte 22: four more than SSND has.
{ head -c 22 "$t/odd/plain.aiff"; printf "$(be4 $((n / 2 + 4)))"; tail -c +27 "$t/odd/plain.aiff"; } > "$t/odd/comm.aiff"
contradicts comm.aiff "fault at 1.500 s: the file ends here: its COMM chunk promises $((n / 2 + 4)) frames, its SSND chunk has $((n / 2))"

# ---- bytes in front ----

{ printf 'MPEG-4 or not'; head -c 51 "$t/plain.raw"; } > "$t/junk" # 64 bytes
for kind in s16.wav s16.w64 s24.aiff a.tta a.wv flac.flac opus.opus fast.m4a; do
    [ $kind != flac.flac ] || make_audio -i "$t/source.wav" "$k/$kind"
    [ $kind != opus.opus ] || make_audio -i "$t/source.wav" -ar 48000 -c:a libopus "$k/$kind"
    [ -f "$k/$kind" ] || continue
    cat "$t/junk" "$k/$kind" > "$t/cut/junk-$kind"
    check_fails "64 bytes of junk in front are named: $kind" 1 "junk-$kind: .*64 bytes of something else come before an? .* file \(tail -c \+65 gives it\)" sh -c "mert-decode '$t/cut/junk-$kind' > '$t/x.mts'"
done
zeros_in_front() { # what plays elsewhere plays
    { head -c 4096 /dev/zero; cat "$k/$1"; } > "$t/odd/zeros-$1" && samples "$k/$1" > "$t/whole.raw" && samples "$t/odd/zeros-$1" | cmp - "$t/whole.raw"
}
for kind in a.aac; do check "zeros in front: $kind" zeros_in_front $kind; done

# ---- tags at either end ----

tag_front() { printf 'ID3\004\000\000\000\000\002\000'; head -c 256 /dev/zero; }
tag_back() { printf 'APETAGEX\320\007\000\000\040\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000TAG'; head -c 125 /dev/zero; }
for kind in a.ac3 a.eac3 a.aac a.wv a.tta s16.wav s24.aiff s16.au s16.caf aac.flv opus.webm; do
    [ -f "$k/$kind" ] || continue
    tagged() {
        { cat "$k/$kind"; tag_back; } > "$t/odd/back-$kind"
        { tag_front; cat "$k/$kind"; head -c 700 /dev/zero; } > "$t/odd/both-$kind"
        samples "$k/$kind" > "$t/whole.raw" && [ "$(wc -c < "$t/whole.raw")" -gt 240000 ] || return
        for odd in back both; do samples "$t/odd/$odd-$kind" | cmp - "$t/whole.raw" || return; done
    }
    check "tags and zeros at either end: $kind" tagged
done

# ---- mert-manifest agrees with mert-decode ----

c=$t/corpus
mkdir -p "$c"
cp "$k"/* "$t/odd"/* "$c"
for f in "$t"/cut/*; do cp "$f" "$c/cut-${f##*/}"; done
echo "not audio" > "$c/text.mp3"
echo cover > "$c/cover.JPG"
cp "$c/cover.JPG" "$c/back.jpg"
echo notes > "$c/README"
(cd "$c" && ls | grep -v -i -e jpg -e readme) > "$t/names"
verdicts() { # the decoder's: NAME SAMPLES and lines of faults
    (cd "$c" && xargs mert-decode "$@" < "$t/names") > "$t/all.mts" 2> "$t/decode.err"
    mert-manifest "$@" --valid-percent 0 --out "$t/listed" "$c" > "$t/x" 2> "$t/manifest.err"
    mert-tensor ls "$t/all.mts" 2> /dev/null > "$t/ls"
    tail -n +2 "$t/listed/train.tsv" > "$t/rows"
    [ "$(wc -l < "$t/rows")" -gt 40 ] || return
    mert-decode "$@" --manifest "$t/listed/train.tsv" 2> "$t/again.err" > "$t/again.mts" || { cat "$t/again.err"; return 1; }
    [ "$(wc -l < "$t/rows")" -eq $(($(wc -l < "$t/names") - $(grep -cv 'kept the first' "$t/decode.err"))) ] || return
    rm -rf "$t/npy" # of whole items: a failed one may have left chunks in the stream
    mert-tensor to-npy -q --max-failed 100% -d "$t/npy/all" "$t/all.mts" 2> "$t/err"
    mert-tensor to-npy -q -d "$t/npy/again" "$t/again.mts" && diff -r "$t/npy/all" "$t/npy/again" || return
    sed 's/^mert-[a-z]*: //' "$t/manifest.err" | grep -v '^passed over' | sort > "$t/1"
    sed 's/^mert-[a-z]*: //' "$t/decode.err" | grep -v 'kept the first' | sort > "$t/2"
    cmp "$t/1" "$t/2"
}
check "the same files, counts and lines in both programs" verdicts
check "with --salvage, too" verdicts --salvage
passed() { grep -q '^mert-manifest: passed over: 2 jpg, 1 without an ending$' "$t/manifest.err"; }
check "what is passed over is counted by ending" passed
silent() { mert-manifest -q --max-failed 100% --valid-percent 0 --out "$t/listed" "$k" 2> "$t/err"; [ ! -s "$t/err" ]; }
check "-q says nothing of it" silent
