# Out of memory, or no more threads: every program fails the item or the run with one line, or continues without; no
# incomplete file remains. Lets the n-th such call of each program fail (tests/programs/fail-nth.c), for some n.
# MERT_NO_MEMORY: number of calls per program (default 3); 1000000: all. MERT_NO_MEMORY_CASES: which cases.
. tests/shell
few=${MERT_NO_MEMORY:-3}
if [ -n "${MERT_SANITIZED:-}" ]; then skip "programs without memory" "the sanitizer has its own malloc"; exit; fi
shim=$OUT/tests/fail-nth.so g=$PWD/$golden here=$PWD/tests/cli/no_memory.sh
. tests/training
cp -R "$g" golden

# ---- inputs ----

npy() { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($1), }"; cat; }
pcm() { mert-tensor from-npy --kind pcm --rate "$@"; }
tail -c 16000 golden/encodec-tiny/audio.npy | npy '4000,' > a.npy
tail -c 9600 golden/mert-post-ln/audio.npy | npy '2400,' > b.npy
tail -c 14400 golden/kmeans/features.npy | npy '300, 12' > features.npy
pcm 24000 a.npy b.npy > two.mts
mert-tensor from-npy --kind mfcc --rate 16000 --frame-rate 16000/160 features.npy > features.mts
pcm 16000 b.npy > at16.mts
mert-mel -q --mfcc --stats stats two.mts || exit 1
mkdir some more
cp audio/s0.wav audio/s1.wav some/
for form in flac ogg mp3 m4a; do ffmpeg -nostdin -v error -i audio/s2.wav -t 0.3 more/s.$form || exit 1; done
mert-kmeans train -q -k 8 --max-iter 3 -o km.safetensors features.mts || exit 1
mert-rvq train -q --codebooks 2 --classes 8 -o rvq.safetensors features.mts || exit 1
mert-rvq encode -q -m golden/encodec-tiny/model.safetensors two.mts > codes.mts || exit 1
mert-model init --recipe micro -o model > model.out || exit 1
mert-model convert --to packed -m golden/mert-post-ln -o packed > packed.out || exit 1
mert-rvq encode -q -m rvq.safetensors features.mts > residual.mts || exit 1
mert-kmeans accumulate -q -m km.safetensors -o sums.safetensors features.mts || exit 1
train half --set save_interval=1 --set max_update=1 || exit 1
printf '%s\ns0.wav\t26400\ns1.wav\t28800\n' "$t/some" > some.tsv
awk 'BEGIN { for (i = 0; i < 24; i++) { printf "i%d", i; for (j = 0; j < 12; j++) printf " %d", (i * j + i % 2 * 7) % 5; print "" } }' > items
text-stream hidden 2 3 10 < items > items.mts
awk '{ print $1 "\t" (NR % 2 ? "odd" : "even") }' items > classes
mkdir labs; cut -d ' ' -f 1 items | while read -r item; do printf '0 0.1 C:maj7\n0.1 0.2 A:min\n' > "labs/$item.lab"; done
mert-probe -q -l classes --seeds 1 -o probe.safetensors items.mts > probe.out || exit 1

# ---- the walk ----

# Runs PROGRAM so that call number $nth fails and, with $on, all calls after it; with $nth 0 none fails.
lacking() { timeout 100 env FAIL_CALL="$asked" FAIL_AT="$nth" FAIL_ON="$on" FAIL_SEEN="$t/seen" LD_PRELOAD="$shim" "$@"; }

readable() { # what a program wrote to stdout, in lines
    if [ -s whole/stdout ] && ! grep -qI . whole/stdout; then mert-tensor text -q --max-failed 100% "$1" 2> readable.said
    else while read -r line; do printf '%s\n' "$line"; done < "$1"; fi # without a last line that has no end
}

# made/ (stdout in made/stdout) equals whole/; or STATUS is 1, there is one line, and no file is wrong or incomplete.
right() {
    case $1 in
    0) diff -r whole made ;;
    1)
        [ -s said ] || return
        [ ! -s made/stdout ] || ! readable made/stdout | grep -nvxFf whole.lines || return
        (cd made && find . -type f ! -name stdout) > files
        while read -r f; do cmp "made/$f" "whole/$f" || return; done < files ;;
    *) return 1 ;;
    esac
}

trial() { # CASE
    rm -rf made; mkdir made
    "$1" > made/stdout 2> said
    status=$?
    right $status > wrong 2>&1 && return
    echo "$1, ${on:+from }$asked $nth: exit status $status"; cat said wrong
    return 1
}

walk() { # CASE: a function that runs one program by way of `lacking`
    rm -rf made whole; mkdir made
    nth=0 on='' asked=memory trials=0 wrongs=0
    "$1" > made/stdout 2> said || { cat said; return 1; }
    mv made whole; readable whole/stdout > whole.lines
    for asked in memory pthread_create; do
        nth=0 on=''; trial "$1" || return
        all=$(cat seen) step=$((all / few + 1))
        nth=$((step / 2 + 1))
        while [ $nth -le "$all" ]; do
            for on in '' yes; do
                [ "$few" -le 3 ] && [ -n "$on" ] && continue
                trial "$1" || wrongs=$((wrongs + 1))
                trials=$((trials + 1))
            done
            nth=$((nth + step))
        done
    done
    echo "$1: $trials trials, $wrongs wrong"
    [ $wrongs -eq 0 ]
}

manifest() { lacking mert-manifest -q --fail-fast -o made/m more; }
decode() { lacking mert-decode -q some/s0.wav more/s.flac more/s.ogg more/s.mp3 more/s.m4a; }
decode_rows() { lacking mert-decode -q --manifest some.tsv --salvage --dtype i16; }
cqt() { lacking mert-cqt two.mts; }
cqt_crops() { lacking mert-cqt --form log --bins 84 --bins-per-octave 12 --per-crop 3200 two.mts; }
mel() { lacking mert-mel --log two.mts; }
mfcc() { lacking mert-mel --mfcc --fail-fast --stats made/stats two.mts; }
mel_normalized() { lacking mert-mel --mfcc --normalize-with stats two.mts; }
kmeans_train() { lacking mert-kmeans train -q -k 8 --max-iter 3 --n-init 2 --lloyd 2 -o made/km.safetensors features.mts; }
kmeans_init() { lacking mert-kmeans init -q -k 8 -o made/km.safetensors features.mts; }
kmeans_sums() { lacking mert-kmeans accumulate -q --fail-fast -m km.safetensors -o made/sums.safetensors features.mts; }
kmeans_merge() { lacking mert-kmeans merge -q -o made/next.safetensors sums.safetensors; }
kmeans_assign() { lacking mert-kmeans assign -q --fail-fast -m km.safetensors --labels made/labels features.mts; }
rvq_train() { lacking mert-rvq train -q --codebooks 2 --classes 8 -o made/rvq.safetensors features.mts; }
rvq_encode() { lacking mert-rvq encode -q -m rvq.safetensors features.mts; }
rvq_decode() { lacking mert-rvq decode -q -m rvq.safetensors residual.mts; }
encodec_encode() { lacking mert-rvq encode -q --fail-fast -m golden/encodec-tiny --labels made/q_%d two.mts; }
encodec_torch() { lacking mert-rvq encode -q -m golden/encodec-tiny/encodec.th two.mts; }
encodec_decode() { lacking mert-rvq decode -q -m golden/encodec-tiny codes.mts; }
encode() { lacking mert-encode -q -m golden/mert-post-ln two.mts; }
encode_layer_norms() { lacking mert-encode -q -m golden/mert-layernorm-extractor --layers 1 --pool mean --normalize two.mts; }
encode_torch() { lacking mert-encode -q -m golden/mert-post-ln/pytorch_model.bin --pool max --span 0.05 two.mts; }
encode_legacy() { lacking mert-encode -q -m golden/mert-post-ln/pytorch_model_legacy.bin --window 0.08 --hop 0.04 two.mts; }
encode_fairseq() { lacking mert-encode -q -m golden/mert-post-ln/fairseq_checkpoint_omegaconf.pt --precision bf16 two.mts; }
encode_packed() { lacking mert-encode -q -m packed --dtype f16 two.mts; }
encode_cqt() { lacking mert-encode -q -m golden/mert-cqt-input at16.mts; }
info() { lacking mert-model info golden/mert-post-ln; }
verify() { lacking mert-model verify packed golden/mert-post-ln/pytorch_model.bin; }
init() { lacking mert-model init -q --recipe micro -o made/model; }
convert() { lacking mert-model convert -q --to hf -m model -o made/model; }
convert_fairseq() { lacking mert-model convert -q --to fairseq -m golden/mert-pre-ln -o made/model; }
convert_packed() { lacking mert-model convert -q --to packed -m golden/mert-post-ln -o made/model; }
probe() { lacking mert-probe -q --fail-fast -l classes --seeds 1 items.mts; }
probe_net() { lacking mert-probe -q --fail-fast -l classes --probe mlp --hidden 4 --epochs 2 --weighted --seeds 1 --json items.mts; }
probe_files() { lacking mert-probe -q --fail-fast -l classes --seeds 1 --per-item --predictions made/predictions --confusion made/confusion -o made/probe items.mts; }
probe_labs() { lacking mert-probe -q --fail-fast -l labs --chords majmin --seeds 1 --folds 3 --frames items.mts; }
probe_apply() { lacking mert-probe apply -q --fail-fast -m probe.safetensors --span 0.1 items.mts; }
plot() { lacking mert-plot -q --fail-fast --bare -o made/p.png features.mts codes.mts; }
plot_drawing() { lacking mert-plot -q --fail-fast -o made/p.svg features.mts codes.mts; }
plot_report() { lacking mert-plot report -q --fail-fast -o made/r.html --stream features.mts --stream codes.mts half; }
tensor_ls() { lacking mert-tensor ls codes.mts; }
tensor_cat() { lacking mert-tensor cat codes.mts codes.mts; }
tensor_gather() { lacking mert-tensor gather --manifest train.tsv train.mts; }
tensor_check() { lacking mert-tensor check codes.mts; }
tensor_cmp() { lacking mert-tensor cmp codes.mts codes.mts > cmp.out; }
tensor_stat() { lacking mert-tensor stat --each --against codes.mts codes.mts > stat.out; }
tensor_text() { lacking mert-tensor text features.mts; }
tensor_paste() { lacking mert-tensor paste codes.mts codes.mts; }
tensor_labels() { lacking mert-tensor labels -o made/train.l_%d --dict codes.mts; }
tensor_labels_npy() { lacking mert-tensor labels -o made/l_%d.npy codes.mts; }
tensor_from_labels() { lacking mert-tensor from-labels --manifest train.tsv train.q_%d; }
tensor_dict() { cp train.q_0 train.q_0.meta made; lacking mert-tensor dict made/train.q_0; }
tensor_to_fairseq() { lacking mert-tensor to-fairseq --manifest train.tsv -o made/f --rate 24000 train.q_%d; }
tensor_from_npy() { lacking mert-tensor from-npy --kind pcm --rate 24000 a.npy b.npy; }
tensor_to_npy() { lacking mert-tensor to-npy -d made/d two.mts; }

# Training: the run is then resumed and ends with the same result.
more() { "$@" --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save run --set max_update=2 --set save_interval=1 -q; }
to_the_end() {
    more lacking mert-train "$@"; was=$?
    [ $was -ne 1 ] || more mert-train "$@" --resume || return 3
    for f in model.safetensors optimizer.safetensors state.json; do cp run/checkpoint-2/$f made/ || return 3; done
    [ -e run/model ] && ! ls -d run/*.new run/*.old 2> ls.err || return 3
    return $was
}
train_run() { rm -rf run; to_the_end; }
train_resume() { rm -rf run; cp -R half run; to_the_end --resume; }
train_two() { rm -rf run; to_the_end --processes 2; }

cases="$(sed -n 's/^\([a-z_]*\)() { lacking .*/\1/p' "$here") tensor_dict train_run train_resume train_two"
for c in ${MERT_NO_MEMORY_CASES:-$cases}; do check "$c" walk "$c"; [ -z "${MERT_NO_MEMORY:-}" ] || sed 's/^/# /' "$t/out"; done
