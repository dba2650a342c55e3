# Integrity of long runs: changed checkpoints, labels and audio are refused by name; one run at a time in a folder; a
# run that is killed before any system call of a save can be resumed. MERT_KILLS: tests every system call of a save, not
# every third.
. tests/shell
. tests/training
sed -i 's/^total_updates.*/total_updates = 6/; s/^save_interval.*/save_interval = 2/' micro

flip() { # FILE OFFSET: one bit of a file, in a copy: checkpoints and SAVE/model share theirs
    cp "$1" flipped && byte=$(od -An -tu1 -j"$2" -N1 flipped) && printf "$(printf '\\%03o' $((byte ^ 4)))" | dd of=flipped bs=1 seek="$2" conv=notrunc 2> dd.err && rm "$1" && mv flipped "$1"
}
cut_short() { head -c -10 "$1" > shorter && rm "$1" && mv shorter "$1"; }
size() { wc -c < "$1"; }

# ---- checkpoints ----

check "an undisturbed run" train whole
check "and one that stops in the middle" train half --set max_update=4
spoilt() { rm -rf bad; cp -a half bad; "$@" || { echo "$*: failed"; return 1; }; }
refuses() { # FILE: of bad/checkpoint-4; says so, and where to go on
    train bad --resume 2> said
    [ $? -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q "bad/checkpoint-4/$1: damaged: .*; checkpoint-2 is whole: take bad/checkpoint-4 away, and --resume goes on from there$" said && [ ! -e bad/checkpoint-6 ] || { cat said; return 1; }
}
files='model.safetensors config.json preprocessor_config.json known_answer.safetensors optimizer.safetensors recipe state.json hashes'
check "a checkpoint's files are those that have hashes, and the hashes" sh -c "[ \"\$(ls half/checkpoint-4 | sort | tr '\n' ' ')\" = \"\$(printf '%s\n' $files | sort | tr '\n' ' ')\" ]"
for f in $files; do
    flipped() { for at in 0 $(($(size "half/checkpoint-4/$f") / 2)) $(($(size "half/checkpoint-4/$f") - 1)); do spoilt flip "bad/checkpoint-4/$f" "$at" && refuses "$f" || return; done; }
    check "one bit of $f" flipped
    shorter() { spoilt cut_short "bad/checkpoint-4/$f" && refuses "$f"; }
    check "the last ten bytes of $f" shorter
done
gone() { spoilt rm bad/checkpoint-4/hashes && train bad --resume 2> said; [ $? -eq 1 ] && grep -q 'bad/checkpoint-4/hashes: missing: .*; checkpoint-2 is whole' said; }
check "no hashes at all" gone
gone_file() { spoilt rm bad/checkpoint-4/optimizer.safetensors && train bad --resume 2> said; [ $? -eq 1 ] && grep -q 'bad/checkpoint-4/optimizer.safetensors: No such file.*; checkpoint-2 is whole' said; }
check "a file that is gone" gone_file
as_it_says() { spoilt flip bad/checkpoint-4/optimizer.safetensors 5000 && mv bad/checkpoint-4 aside && train bad --resume && same_end bad; }
same_end() { for f in model.safetensors optimizer.safetensors state.json hashes; do cmp "whole/checkpoint-6/$f" "$1/checkpoint-6/$f" || return; done; [ "$(readlink "$1/last")" = checkpoint-6 ] && cmp "$1/model/model.safetensors" whole/model/model.safetensors; }
check "the way on that the line names ends as undisturbed" as_it_says
no_older() { spoilt rm -r bad/checkpoint-2 && flip bad/checkpoint-4/recipe 10 && train bad --resume 2> said; [ $? -eq 1 ] && grep -q 'bad/checkpoint-4/recipe: damaged: .*; bad has no older checkpoint that is whole: ' said; }
check "no older one is whole: likewise, by name" no_older
older_version() { # as 0.1 left it
    spoilt rm bad/checkpoint-4/hashes && sed -i 's/mert-train 2/mert-train 1/; s/,$/&/; /"inputs"/,/^  }/d; s/\("data": .*\),$/\1/' bad/checkpoint-4/state.json &&
        train bad --resume 2> said && [ "$(grep -c 'bad/checkpoint-4: unverified' said)" -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && same_end bad
}
check "a checkpoint of version 0.1: one line, and it goes on" older_version

from() { train begun --init "$1" --set max_update=1; }
init_refuses() { spoilt flip "bad/$1/$2" "$3" && from "bad/$1" 2> said; [ $? -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q "bad/$1/$2: damaged" said && [ ! -e begun ]; }
check "--init from a checkpoint with a wrong bit" init_refuses checkpoint-4 model.safetensors 60000
check "... in its optimiser, too" init_refuses checkpoint-4 optimizer.safetensors 60000
check "--init from SAVE/model with a wrong bit" init_refuses model model.safetensors 60000
check "... in its configuration" init_refuses model config.json 20
init_file() { spoilt flip bad/model/model.safetensors 60000 && from bad/model/model.safetensors 2> said; [ $? -eq 1 ] && grep -q 'bad/model/model.safetensors: damaged' said; }
check "... named as a file" init_file
check_fails "--check says so, too" 1 'bad/model/model.safetensors: damaged' mert-train --check --recipe micro --init bad/model
check "a whole one is taken" from half/model

# ---- the run's inputs ----

mkdir keep; cp ./*.tsv ./*.q_* ./*.mts keep/
other() { # PATTERN COMMAND...: after it, --resume is refused with the pattern and both hashes
    wanted=$1; shift
    "$@" || { cp keep/* .; echo "$*: failed"; return 1; }
    spoilt true; train bad --resume 2> said; rc=$?
    cp keep/* .
    [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -qE "$wanted" said && [ ! -e bad/checkpoint-6 ] || { cat said; return 1; }
}
hashes='than the run was begun with .hash [0-9a-f]{16}, it was [0-9a-f]{16}.: --resume needs the same'
one_label() { sed -i '2s/^[0-9]*/3/' train.q_1; sed -i '/^hash=/d' train.q_1.meta; }
check "a label of another class, with a .meta that knows nothing of it" other "train.q_1: other labels $hashes" one_label
no_meta() { one_label && rm train.q_0.meta train.q_1.meta && sed -i '/^classes/d' micro && echo 'classes = 16' >> micro; }
bare() { spoilt true; train bare --set classes=16 --set max_update=4 && { no_meta; train bare --resume 2> said; rc=$?; cp keep/* .; sed -i '/^classes/d' micro; } ; [ $rc -eq 1 ] && grep -qE "train.q_1: other labels $hashes" said; }
check "without any .meta" bare
held_out() { sed -i '1s/^[0-9]*/3/' valid.q_0; sed -i '/^hash=/d' valid.q_0.meta; }
check "of the validation set" other "valid.q_0: other labels $hashes" held_out
audio() { # one item of another loudness, under the same names
    mkdir -p quiet && cp audio/s[0-7].wav quiet && ffmpeg -nostdin -v error -y -i audio/s3.wav -af volume=0.5 -c:a pcm_s16le quiet/s3.wav && sed "1s,.*,$t/quiet," train.tsv > quiet.tsv && mert-decode --manifest quiet.tsv > train.mts
}
check "other audio" other "train.mts: other audio $hashes" audio
packed_anew() { # in another order
    sed 1d train.tsv | cut -f 1 | sort -r > names && (cd audio && mert-decode $(cat ../names)) > train.mts; spoilt true; train bad --resume && same_end bad; rc=$?; cp keep/* .; return $rc; }
check "but the same audio packed anew is the same" packed_anew

damaged_audio() { # an item that cannot be read is left out of every epoch, and counted and said once
    flip train.mts $(($(size train.mts) / 2)); rm -rf left_out
    train left_out --set total_updates=12 2> said; rc=$?
    rm -rf allowed; train allowed --set total_updates=12 --max-failed 1 2> allowed.err; allowed=$?
    cp keep/* .
    [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q ': s[0-7].wav: .*train.mts' said && [ -e left_out/checkpoint-12 ] && [ $allowed -eq 0 ] || { cat said; return 1; }
}
check "damaged audio costs its item, within --max-failed" damaged_audio

in_a_row() { # of updates that are not finite: those before the run was resumed count
    away() { d=$1; shift; train "$d" --set lr=1000 --set clip_norm=0 --set total_updates=60 --set save_interval=0 "$@" 2> said; }
    rm -rf away parts; away away; [ $? -eq 1 ] && last=$(sed -n 's/.*10 updates in a row were not finite, the last is update \([0-9]*\) with s[0-7].wav.*/\1/p' said) && [ "$last" -gt 10 ] || { cat said; return 1; }
    away parts --set max_update=$((last - 4)) && grep -q '"skipped_in_row": 6,' parts/last/state.json && ! away parts --resume && grep -q "the last is update $last with" said
}
check "ten updates in a row that are not finite, counted across a resume" in_a_row
future() { # a clock that was wrong: nothing depends on it, and what was written "later" is not too old
    spoilt true; find bad -exec touch -h -d '3 days' {} + && train bad --resume --set keep=1 --set keep_hours=1 && cmp whole/model/model.safetensors bad/model/model.safetensors && [ -d bad/checkpoint-2 ] && [ -d bad/checkpoint-4 ]
}
check "a folder that is dated in the future" future

# ---- one at a time ----

host=$(uname -n)
held() { # a run that has the folder and waits for its manifest, until the test lets it go on
    rm -rf one train.fifo; mkfifo train.fifo
    mert-train -q --recipe micro --manifest train.fifo --labels 'train.q_%d' --pcm train.mts --valid-manifest valid.tsv --save one 2> one.err & pid=$!
    n=0; while [ ! -s one/lock ] && kill -0 $pid 2> kill.err && [ $n -lt 6000 ]; do sleep 0.02; n=$((n + 1)); done
    [ -s one/lock ]
}
busy() {
    held || { kill -9 $pid; wait $pid; cat one.err; return 1; }
    train one --resume 2> said; rc=$?
    cat train.tsv > train.fifo; wait $pid || { cat one.err; return 1; }
    [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q "one/lock: in use by process $pid on $host: wait until it ends, or name another --save" said && [ ! -e one/lock ] && same_end one || { cat said; return 1; }
}
check "a second run in the same folder is refused, and the first ends undisturbed" busy
dead() { held; kill -9 $pid; wait $pid; [ -s one/lock ] && train one --resume && [ ! -e one/lock ] && same_end one; }
check "a dead owner's lock is taken over" dead
many() { # of several at once, one runs and the others say so
    rm -rf one; pids=
    for i in 1 2 3 4; do mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save one --resume 2> many.$i & pids="$pids $!"; done
    done=0; for p in $pids; do wait "$p" && done=$((done + 1)); done
    [ $done -ge 1 ] && [ "$(cat many.? | grep -vc 'in use by ')" -eq 0 ] && [ "$(cat many.? | wc -l)" -eq $((4 - done)) ] && same_end one || { cat many.?; return 1; }
}
check "four at once: who does not run says who does" many

# ---- killed in a save ----

sed -i 's/^total_updates.*/total_updates = 2/; s/^warmup.*/warmup_updates = 1/; s/^log_interval.*/log_interval = 1/; s/^save_interval.*/save_interval = 1/' micro
echo 'keep = 1' >> micro
saving() { rm -rf saved; cp -a begun_with saved; kill-at "$1" checkpoint-2 mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save saved --resume; }
contents() { # all names and, but for how fast it went, all bytes
    (cd "$1" && find . | sort && readlink last && find . -type f ! -name 'log.*' | sort | xargs cksum && cut -f 1-15 log.tsv && sed 's/"audio_seconds_per_second.*waiting":[^,]*,//' log.jsonl)
}
train begun_with --set max_update=1 && saving 0 > calls; rc=$?
if [ $rc -eq 77 ]; then
    echo "ok killed before every system call of a save # SKIP nothing can be traced here"
else
    contents saved > undisturbed
    calls=$(cat calls)
    killed_anywhere() {
        n=1
        while [ $n -le "$calls" ]; do
            saving $n > kill.out; [ $? -eq 137 ] || { echo "call $n: not killed"; return 1; }
            train saved --resume || { echo "call $n"; return 1; }
            contents saved > resumed && cmp undisturbed resumed || { echo "call $n of $calls"; diff undisturbed resumed; return 1; }
            n=$((n + step))
        done
    }
    [ -n "${MERT_KILLS:-}" ] && step=1 || step=3
    check "killed before the system calls of a save ($calls), it is whole when resumed" killed_anywhere
fi
