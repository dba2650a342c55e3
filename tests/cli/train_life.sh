# The life of a run, each step one command of the pages: begun on two processes, killed, resumed on one with another
# learning rate and ten more songs, ended by a time limit, resumed, averaged, exported, probed. The log tells all of it.
. tests/shell
. tests/training
value() { awk -F'\t' -v c="$2" -v r="$3" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == c) n = i} $1 == r && n {print $n; exit}' "$1"; } # FILE COLUMN UPDATE
killed() { # kill -9 of the first process, after its first checkpoint
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save run --set save_interval=3 --set log_interval=1 \
        --processes 2 --threads 1 --set total_updates=100000 --set validate_interval=0 < /dev/null & pid=$!
    for _ in $(seq 600); do [ ! -e run/last ] || break; kill -0 $pid || return; sleep 0.1; done
    kill -9 $pid; wait $pid; [ $? -eq 137 ]
}
check "begun on two processes, and killed" killed

mkdir more
grow() { # ten songs behind the others, and their labels
    for i in 0 1 2 3 4 5 6 7 8 9; do
        ffmpeg -nostdin -v error -y -f lavfi -i "aevalsrc=0.2*sin(2*PI*(130+70*$i)*t):s=24000:d=1.$((i + 1))" -c:a pcm_s16le audio/t$i.wav || return
    done
    { cat train.tsv; for i in 0 1 2 3 4 5 6 7 8 9; do printf 't%d.wav\t%d\n' $i $((($(wc -c < audio/t$i.wav) - 78) / 2)); done; } > more/train.tsv
    mert-decode --manifest more/train.tsv > more/train.mts && cp valid.tsv valid.q_* more/ || return
    for k in 0 1; do labels more/train $k 16 > more/train.q_$k; sed "s/^rows=.*/rows=18/" train.q_$k.meta > more/train.q_$k.meta; done
}
check "ten more songs" grow
resume() {
    mert-train --recipe micro --manifest more/train.tsv --labels 'more/train.q_%d' --pcm more/train.mts --valid-pcm valid.mts --save run --resume \
        --set save_interval=3 --set log_interval=1 --set total_updates=100000 --set validate_interval=0 "$@"
}
limited() { # when the other process has ended, too; at least one update more, however slow the machine is
    for _ in $(seq 600); do
        at=$(readlink run/last | tr -dc 0-9)
        resume --change lr=0.001 --change corpus=yes --stop-after 5s 2> said; rc=$?
        grep -q 'run/lock: in use by process' said || break
        sleep 0.1
    done
    [ $rc -eq 75 ] && grep -q "changed after update $at: corpus from " said && grep -q 'stopped by --stop-after after update' said || { cat said; return 1; }
    echo "$at" > at
}
check "resumed on one with another lr and ten more songs, and ended by a time limit: exit 75" limited
at=$(cat at)
stop=$(readlink run/last | tr -dc 0-9)
further() { [ "$stop" -gt "$at" ]; }
check "it went on from the checkpoint" further
finish() { resume --change lr=0.001 --change corpus=yes --change total_updates=$((stop + 6)) --change validate_interval=3 2> said && [ "$(readlink run/last)" = checkpoint-$((stop + 6)) ] || { cat said; return 1; }; }
check "resumed to its end" finish

told() { # each update once, whatever a killed run had written; the changes; the hours go up
    sed 1d run/log.tsv | cut -f 1 | sort -n | uniq -d | grep . && return 1
    [ "$(sed 1d run/log.tsv | wc -l)" -eq $((stop + 6)) ] && grep -q "\"update\":$at,\"kind\":\"change\",\"name\":\"lr\",\"from\":\"0.003\",\"to\":\"0.001\"" run/log.jsonl &&
        grep -q "\"update\":$at,\"kind\":\"change\",\"name\":\"corpus\"" run/log.jsonl && grep -q "\"update\":$stop,\"kind\":\"change\",\"name\":\"total_updates\"" run/log.jsonl &&
        [ "$(grep -c '"kind":"change"' run/log.jsonl)" -eq 4 ]
}
check "the log tells all of it" told
songs() { mert-train --recipe micro --manifest more/train.tsv --labels 'more/train.q_%d' --pcm more/train.mts --valid-pcm valid.mts --save other --plan > plan && grep -q '18 items' plan || { cat plan; return 1; }; }
check "with eighteen songs" songs

average() { mert-model average run/checkpoint-* -o mean && mert-model verify mean; }
check "averaged" average
export_() { mert-model convert --to hf -m mean -o exported && mert-model verify exported; }
check "exported" export_
probed() {
    { for i in 0 1 2 3 4 5 6 7 8 9; do printf 'audio/t%d.wav\t%s\n' $i $((i % 2)); done; } > table
    mert-decode --rate 24000 audio/t?.wav | mert-encode -q -m exported --layers all --pool mean | mert-probe -q --seeds 1 --labels table > scores && grep -q accuracy scores || { cat scores; return 1; }
}
check "probed" probed
