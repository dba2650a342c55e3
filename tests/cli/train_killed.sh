# mert-train, killed at random times and resumed each time; and with a full disk while it saves: the result is the same.
# MERT_KILLS: number of kills (default 4).
. tests/shell
. tests/training
kills=${MERT_KILLS:-4}
updates=$((12 * kills))
sed -i "s/^total_updates.*/total_updates = $updates/; s/^validate_interval.*/validate_interval = 0/; s/^save_interval.*/save_interval = 3/" micro
echo 'keep = 2' >> micro

now() { date +%s%N; }
began=$(now)
check "an undisturbed run" train whole
took=$((($(now) - began) / 1000000))
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "whole/checkpoint-$updates/$f" "$1/checkpoint-$updates/$f" || return; done; }

# Times are uniform from 0 to the time for starting and for twice its share of the updates; the sequence is always the
# same. If a run ends before it is killed, it begins again, with shorter times.
killed() {
    most=$((200 + 2 * took / kills)) hit=0 n=0
    while [ $hit -lt "$kills" ] && [ $n -lt $((10 * kills)) ]; do
        n=$((n + 1))
        moment=$(awk -v n=$n -v most=$most 'BEGIN { srand(7); while (n--) x = rand(); printf "%.3f", x * most / 1000 }')
        mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save killed --resume < /dev/null & pid=$!
        sleep "$moment"
        kill -9 $pid 2> kill.err
        wait $pid
        if [ $? -eq 137 ]; then hit=$((hit + 1)); else most=$((most / 2)); rm -rf killed; fi
        echo "$moment s: $(readlink killed/last)"
    done
    [ $hit -eq "$kills" ] && train killed --resume && same killed
}
check "killed at $kills random moments" killed
[ -z "${MERT_KILLS:-}" ] || sed 's/^/# /' "$TEST_TMP/out"
left() { ! ls -d killed/*.new killed/*.old 2> ls.err && [ "$(ls -d killed/checkpoint-* | wc -l)" -eq 2 ]; }
check "and nothing half written is left" left

# ---- full disk ----

# A limit on the size of files, then none: the model still fits, the optimiser's state does not.
limited() {
    train limited --set max_update=3 || return
    (trap '' XFSZ; ulimit -f 400; train limited --resume) 2> said
    [ $? -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q 'limited/checkpoint-6.*/optimizer.safetensors: .*' said || { cat said; return 1; }
    [ ! -e limited/checkpoint-6 ] && [ "$(readlink limited/last)" = checkpoint-3 ] && mert-encode -m limited/last valid.mts > hidden.mts &&
        train limited --resume && same limited
}
check "files that cannot grow while saving: a line, the last checkpoint stays, and it goes on from there" limited

# A small disk, then a larger one.
cat > small_disk <<'END'
mount -t tmpfs -o size="$1"k none disk || exit 77
train() { mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save disk/run --resume --set keep=0; }
train 2> said
[ $? -eq 1 ] && grep -q 'No space left' said && [ "$(wc -l < said)" -eq 1 ] || { cat said; exit 1; }
newest=$(ls disk/run | sed -n 's/^checkpoint-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
[ "$newest" -ge 1 ] && [ "$newest" -lt "$2" ] && mert-encode -m disk/run/last valid.mts > hidden.mts || { ls -l disk/run; exit 1; }
mount -o remount,size=200m disk && train && cp -r "disk/run/checkpoint-$2" full_disk/
END
full_disk() { mkdir -p disk full_disk && unshare -rm sh small_disk $((3 * $(du -sk "whole/checkpoint-$updates" | cut -f 1))) "$updates" && same full_disk; }
if unshare -rm mount -t tmpfs none "$t" 2> unshare.err; then
    check "a full disk while saving: likewise" full_disk
else
    skip "a full disk while saving" "no small disk can be mounted here"
fi
