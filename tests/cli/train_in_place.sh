# mert-train --in-place: audio that is decoded from the manifest's own files, in folders and in tar files, gives the
# samples, and so the model, of packed i16 audio. Damaged files cost their items.
. tests/shell
here=$PWD
. tests/training

# ---- a corpus of many formats, half of it in tar files ----

mkdir -p mixed/sub/tarred
equal() { check "$1" [ "$2" = "$3" ]; }
ff() { ffmpeg -nostdin -v error -y -i "$@"; }
encode() {
    ff audio/s0.wav -ar 44100 -ac 2 mixed/s0.flac
    ff audio/s1.wav mixed/sub/s1.flac
    ff audio/s2.wav -c:a libopus mixed/s2.opus
    ff audio/s3.wav -c:a libmp3lame mixed/s3.mp3
    ff audio/s4.wav -ar 44100 mixed/s4.wav
    ff audio/s5.wav -ar 48000 -ac 2 mixed/sub/tarred/s5.flac
    ff audio/s6.wav -c:a libopus mixed/sub/tarred/s6.opus
    ff audio/s7.wav -ar 22050 -sample_fmt s32 mixed/sub/tarred/s7.flac
    cp audio/s8.wav audio/s9.wav mixed/
}
check "files of many formats" encode
long=$(printf 'long%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30)
archive() {
    cd mixed/sub/tarred && mkdir -p "$long" && mv s6.opus "$long/" &&
        tar --format=ustar -cf ../ustar.tar s5.flac && tar --format=pax -cf ../pax.tar "$long" && tar --format=gnu -cf ../gnu.tar s7.flac &&
        cp -r "$long" s5.flac s7.flac ../.. && cd ../../.. && rm -r mixed/sub/tarred
}
( archive ) || echo "not ok - archive"
listed() { mert-manifest -q --tar --valid-percent 0 --out listed mixed && grep -c . listed/train.tsv; }
equal "mert-manifest --tar lists files and members" "$(listed)" 14
equal "as TAR:MEMBER" "$(sed 1d listed/train.tsv | cut -f 1 | grep tar: | tr '\n' ' ')" "sub/gnu.tar:s7.flac sub/pax.tar:$long/s6.opus sub/ustar.tar:s5.flac "
same_count() { [ "$(awk -F'\t' -v f="$1" '$1 == f {print $2}' listed/train.tsv)" = "$(awk -F'\t' -v f="$2" '$1 == f {print $2}' listed/train.tsv)" ]; }
check "as long as the same file outside" same_count sub/gnu.tar:s7.flac s7.flac
check "and a long name in a pax header" same_count "sub/pax.tar:$long/s6.opus" "$long/s6.opus"
samples() { mert-decode "$@" | zstd -dcq; }
same_samples() { samples "mixed/$1" > one.raw && samples "mixed/$2" | cmp - one.raw && [ -s one.raw ]; }
check "mert-decode TAR:MEMBER gives the samples of the file" same_samples sub/gnu.tar:s7.flac s7.flac
check "of Ogg, whose pages are looked at, too" same_samples "sub/pax.tar:$long/s6.opus" "$long/s6.opus"
check_fails "a member that there is not" 1 'mixed/sub/gnu.tar:s9.flac: there is no such member in the tar file' sh -c 'mert-decode mixed/sub/gnu.tar:s9.flac > x.mts'
broken_tar() { printf 'broken' | dd of=mixed/sub/broken.tar bs=1 seek=3 conv=notrunc 2> dd.err; }
cp mixed/sub/gnu.tar mixed/sub/broken.tar; broken_tar
check_fails "a damaged tar file is named with the place" 1 'sub/broken.tar: .*no sound tar file: the header at byte 0 has a wrong checksum' mert-manifest -q --tar --valid-percent 0 --out listed.x mixed
rm -r mixed/sub/broken.tar listed.x

rows="s0.flac sub/s1.flac s2.opus s3.mp3 s4.wav sub/ustar.tar:s5.flac sub/pax.tar:$long/s6.opus sub/gnu.tar:s7.flac"
corpus() { # NAME ROOT: train.tsv and labels of these rows in folder NAME
    mkdir -p "$1"
    { echo "$2"; for f in $rows; do grep "^$f	" listed/train.tsv; done; } > "$1/train.tsv"
    for k in 0 1; do
        (cd "$1" && labels train $k 16 > train.q_$k && meta 16 00000000000c0de5 $k 8 > train.q_$k.meta)
    done
}
corpus place "$t/mixed"
mert-decode --manifest place/train.tsv --dtype i16 > place/train.mts || exit 1
run() { save=$1; shift; mert-train -q --recipe micro --manifest place/train.tsv --labels 'place/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --valid-pcm valid.mts --save "$save" "$@"; }

# ---- crops ----

crops() { # RATE FILE: crops by request are slices of the whole
    mert-decode --rate "$1" --dtype i16 "$2" | zstd -dcq > whole.raw
    n=$(($(wc -c < whole.raw) / 2))
    for crop in "0 1000" "$((n / 2)) 1" "$((n / 3)) 7000" "$((n - 500)) 500" "0 $n" "$((n * 5 / 7)) 100"; do
        set -- "$1" "$2" $crop
        printf '%d %d %d %s\n' "$3" "$4" -1 "$2"
    done > requests
    mert-decode --crops --rate "$1" < requests > answers || return
    while read -r first count x; do
        { echo ok; tail -c +$((first * 2 + 1)) whole.raw | head -c $((count * 2)); }
    done < requests | cmp - answers
}
for f in $rows; do
    for rate in 24000 16000; do check "crops of ${f%%long*} at $rate Hz are slices of the whole" crops $rate "mixed/$f"; done
done
make_long() { ff audio/s0.wav -af 'aloop=40:size=24000,vibrato' -ar "$1" -ac 2 ${2:-} "long.$1.flac"; }
for rate in 44100 48000 11025; do
    make_long $rate; check "crops of a long FLAC of $rate Hz, which are sought" crops 24000 long.$rate.flac
done
in_front() { # what is in front of a crop of FLAC is not decoded: damage there is not met
    cp long.44100.flac hurt.flac && dd if=/dev/zero of=hurt.flac bs=1 seek=$(($(wc -c < hurt.flac) / 4)) count=3000 conv=notrunc 2> dd.err
    n=$(($(wc -c < whole.44100) / 2 * 3 / 4))
    ! mert-decode -q hurt.flac > x.mts 2> x.err && echo "$n 5000 -1 hurt.flac" | mert-decode --crops --rate 24000 > answers &&
        { echo ok; tail -c +$((n * 2 + 1)) whole.44100 | head -c 10000; } | cmp - answers
}
mert-decode --dtype i16 long.44100.flac | zstd -dcq > whole.44100
check "FLAC is entered at the crop" in_front
answer() { printf '%s\n' "$1" | mert-decode --crops --rate 24000 | grep -a '^failed'; }
mkfifo fifo
equal "a FIFO is not opened" "$(answer "0 10 -1 $t/fifo")" "failed is a FIFO, not a regular file"
equal "a request that is none" "$(answer 'what')" "failed no request: FIRST COUNT WHOLE PATH"
equal "a crop beyond the end" "$(answer "30000 10000 -1 $t/mixed/s3.mp3")" "failed samples 30000 to 39999 are wanted, at 24000 Hz there are only $(grep '^s3.mp3' listed/train.tsv | cut -f 2)"
equal "a file of another length" "$(answer "0 100 999 $t/mixed/sub/s1.flac")" "failed 999 samples are expected, at 24000 Hz there are $(grep '^sub/s1.flac' listed/train.tsv | cut -f 2) (a manifest of another rate, or of another file?)"

# ---- the same run ----

check "a run from packed audio" run packed --pcm place/train.mts
check "a run in place" run inplace --in-place --threads 3
same_model() { cmp "$1/model/model.safetensors" "$2/model/model.safetensors"; }
check "gives the same model" same_model packed inplace
without_audio() { sed '/"train.\(audio\|files\).0"/d' "$1"; }
same_checkpoint() {
    a=packed/checkpoint-10 b=inplace/checkpoint-10 files=
    for f in "$a"/*; do
        f=${f##*/}
        case $f in
        state.json) without_audio $a/$f > a.json; without_audio $b/$f > b.json; cmp a.json b.json || return ;;
        hashes) ;; # of state.json, too
        *) cmp "$a/$f" "$b/$f" || return; files="$files $f" ;;
        esac
    done
    [ -n "$files" ]
}
check "and the same checkpoint, without the hash of the packed audio" same_checkpoint
same_log() { cut -f 1-6 packed/log.tsv > a.log && cut -f 1-6 inplace/log.tsv | cmp - a.log; }
check "and the same losses" same_log
half() { run half --in-place --set max_update=5 && run half --pcm place/train.mts --resume --set max_update=0; }
check "begun in place and resumed from packed audio" half
check "it is the same model again" same_model packed half
two() { run two --in-place --processes 2 --set update_batches=2; run two.packed --pcm place/train.mts --processes 2 --set update_batches=2; same_model two two.packed; }
check "with two processes" two
normal() { for s in n.packed n.place; do [ $s = n.place ] && how=--in-place || how='--pcm place/train.mts'; run $s $how --set max_update=2 --set normalize=yes --set extractor_mode=layer_norm || return; done; same_model n.packed n.place; }
check "with whole clips normalised" normal
replayed() {
    for s in r.packed r.place; do
        [ $s = r.place ] && how=--in-place || how='--pcm place/train.mts --replay-pcm train.mts'
        run $s $how --set max_update=2 --set replay_share=0.3 --replay-manifest train.tsv --replay-labels 'train.q_%d' || return
    done
    same_model r.packed r.place
}
check "and with an old corpus in place" replayed
cp -p audio/s0.wav old.wav; printf 'x' | dd of=audio/s0.wav bs=1 seek=3000 conv=notrunc 2> dd.err
check_fails "of which a file has changed" 1 '^mert-train: s0.wav: other audio than the run was begun with' run r.place --in-place --resume --set replay_share=0.3 --replay-manifest train.tsv --replay-labels 'train.q_%d'
cp -p old.wav audio/s0.wav
no_pcm() { ! ls inplace/*.mts 2> ls.err; }
check "nothing was packed" no_pcm
check_fails "in place and packed at a time" 2 '\-\-in-place is instead of --pcm' run x --in-place --pcm place/train.mts

plan() { mert-train --plan --recipe micro --manifest place/train.tsv --labels 'place/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --in-place "$@" > plan.out && cat plan.out; }
check "--plan decodes some crops" plan
says_cost() { grep -q 'training .* 8 items .*(by the manifest: decoded in place)' plan.out && grep -Eq 'decoding in place +[0-9.]+ s of audio per second of a core, measured now on 16 crops' plan.out && grep -Eq 'for an update +[0-9.]+ s of a core, of [0-9]+ processes of [0-9]+ MB each' plan.out; }
check "and says what decoding costs" says_cost

# ---- files that change between two starts ----

cp -rp mixed other.mixed
corpus others "$t/other.mixed"
other() { mert-train -q --recipe micro --manifest others/train.tsv --labels 'others/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --valid-pcm valid.mts --save o --in-place "$@"; }
check "a run, and its files' states" other --set max_update=2
check "resumed with the same files" other --resume --set max_update=3
cp -p other.mixed/s0.flac was.flac; cp -p other.mixed/sub/gnu.tar was.tar
change() { printf 'x' | dd of="$1" bs=1 seek="$2" conv=notrunc 2> dd.err && touch -r "$3" "$1"; }
change other.mixed/s0.flac 5000 was.flac
way='--resume needs the same, or --change corpus=yes'
check_fails "a byte of a file, with the old time" 1 "^mert-train: s0.flac: other audio than the run was begun with .*$way" other --resume --set max_update=4
check_fails "also for --plan" 1 '^mert-train: s0.flac: other audio' other --resume --plan
check_fails "and for many processes" 1 '^mert-train: s0.flac: other audio' other --resume --processes 2 --set max_update=4
cp -p was.flac other.mixed/s0.flac
change other.mixed/sub/gnu.tar 20000 was.tar
check_fails "a byte of a member of a tar file" 1 '^mert-train: sub/gnu.tar:s7.flac: other audio' other --resume --set max_update=4
cp -p was.tar other.mixed/sub/gnu.tar; printf 'more' >> other.mixed/s4.wav
check_fails "a file that grew" 1 '^mert-train: s4.wav: other audio' other --resume --set max_update=4
rm other.mixed/s4.wav
check_fails "a file that is gone" 1 '^mert-train: s4.wav \(it cannot be read\): other audio' other --resume --set max_update=4
cp -p mixed/s4.wav other.mixed/s4.wav
check "as it was it is the same run" other --resume --set max_update=4
touch other.mixed/s1.flac other.mixed/sub/s1.flac
again() { other --resume --set max_update=5 2> err && [ "$(cat err)" = 'mert-train: files of audio in place: 1 written again, the first: sub/s1.flac; size, beginning and end are the same, so the run goes on' ]; }
check "written again with the same bytes: said" again
noted() { grep -q '"update":4,"kind":"change","name":"audio","from":"","to":"1 written again, the first: sub/s1.flac"' o/log.jsonl; }
check "and written to the log" noted
change other.mixed/s0.flac 5000 was.flac
changed() { other --resume --set max_update=6 --max-failed 1 --change corpus=yes 2> err && grep -q '"kind":"change","name":"corpus"' o/log.jsonl; }
check "a change of the corpus is a change of the run" changed
broken() { printf 'x' | dd of=o/train.files bs=1 seek=60 conv=notrunc 2> dd.err; other --resume --set max_update=7 --max-failed 1 2> err; }
check "damaged states are made again" broken
cp -p was.flac other.mixed/s0.flac; printf 'x' >> o/train.files
check_fails "without them the manifest is named" 1 '^mert-train: others/train.tsv: other audio than' other --resume --set max_update=8

# ---- decoders that hang ----

mkdir fake; cp "$(command -v mert-train)" fake/
printf '#!/bin/sh\nread -r x\nexec sleep 60\n' > fake/mert-decode; chmod +x fake/mert-decode
hangs() { PATH=$t/fake:$PATH run hung --in-place --threads 1 --hang-after 1s; }
check_fails "a decoder that does not answer ends the run, and its file is named" 1 "$t/mixed/.*: mert-decode has not answered for 0.75 s while it decoded this \(--hang-after\)" hangs
two_hang() { PATH=$t/fake:$PATH run hung --in-place --threads 1 --hang-after 1s --processes 2 --set update_batches=2; }
check_fails "also one of two processes" 1 "process [01]: $t/mixed/.*: mert-decode has not answered" two_hang
plan_hangs() { PATH=$t/fake:$PATH mert-train -q --plan --recipe micro --manifest place/train.tsv --labels 'place/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --in-place --hang-after 1s; }
check_fails "and of --plan" 1 'has not answered for 0.75 s' plan_hangs
packs() { PATH=$t/fake:$PATH mert-train -q --recipe micro --manifest place/train.tsv --labels 'place/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --valid-pcm valid.mts --save hung --hang-after 1s; }
check_fails "one that packs the audio" 1 'packing place/train.tsv: s0.flac: mert-decode has written nothing for 0.75 s while it decoded this \(--hang-after\)' packs
head -n 3 place/train.tsv > two.tsv && mert-decode --manifest two.tsv --dtype i16 > two.mts
printf '#!/bin/sh\ncat "%s/two.mts"\nexec sleep 60\n' "$t" > fake/mert-decode
check_fails "after two files: the third is named" 1 'packing place/train.tsv: s2.opus: mert-decode has written nothing' packs
no_run() { ! ls hung/checkpoint-* hung/*.mts* 2> ls.err; }
check "nothing was saved" no_run

# ---- damage ----

cp mixed/s0.flac s0.flac
dd if=/dev/zero of=mixed/s0.flac bs=1 seek=2000 count=60000 conv=notrunc 2> dd.err
check_fails "a damaged file costs its item, and the run goes on" 1 '^mert-train: s0.flac: ' run damaged --in-place --max-failed 0
trained() { [ -f damaged/model/model.safetensors ]; }
check "to its end" trained
check "within --max-failed" run damaged.2 --in-place --max-failed 1
named_once() { run damaged.3 --in-place --max-failed 1 2> err; [ "$(grep -c '^mert-train: s0.flac' err)" = 1 ]; }
check "it is named once" named_once
cp s0.flac mixed/s0.flac
cp mixed/sub/ustar.tar whole.tar
truncate -s 3000 mixed/sub/ustar.tar
check_fails "a tar file that is cut off costs its items" 1 '^mert-train: sub/ustar.tar:s5.flac: .*no sound tar file' run cut --in-place --max-failed 0
cp whole.tar mixed/sub/ustar.tar
check_fails "no file at all" 1 'no item of a whole batch can be read, the first: .*No such file' sh -c "rm -rf mixed.away; mv mixed mixed.away; mert-train -q --recipe micro --manifest place/train.tsv --labels 'place/train.q_%d' --valid-manifest valid.tsv --valid-labels 'valid.q_%d' --valid-pcm valid.mts --save none --in-place; x=\$?; mv mixed.away mixed; exit \$x"

# ---- in one command ----

AUDIO=$t/mixed; export AUDIO
pipeline() { # DATA SETTING...: labels and two updates, where audio is packed or not
    data=$1; shift
    (cd "$here" && env -u MAKEFLAGS -u MAKELEVEL PREPARE='VALID=30 SHARDS=2 K=8 CODEBOOKS=2' JOBS=2 "$@" pipelines/train small "$t/$data" -q --set encoder_layers=1 \
        --set encoder_embed_dim=32 --set encoder_ffn_embed_dim=32 --set encoder_attention_heads=2 --set conv_pos=8 --set conv_pos_groups=4 \
        --set conv_feature_layers='8x10/5 8x3/2*4 8x2/2*2' --set min_sample_size=16000 --set max_sample_size=24000 --set max_tokens=96000 \
        --set warmup_updates=1 --set total_updates=2 --set sharding_data=0 --set update_batches=1)
}
check "pipelines/train, packed" pipeline data.packed TAR=yes
check "with IN_PLACE=yes" pipeline data.place TAR=yes IN_PLACE=yes
same_labels() { ls data.place/pcm 2> ls.err && return 1; cmp data.packed/train.rvq_1 data.place/train.rvq_1 && cmp data.packed/small/model/model.safetensors data.place/small/model/model.safetensors; }
check "packs nothing, and gives the same labels and the same model" same_labels
