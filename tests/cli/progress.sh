# The progress line: the number of items in the manifest, and only for the last program of a pipe.
. tests/shell
t=$TEST_TMP
wavs "$t/w" 0 10 && mert-manifest -q --out "$t" --valid-percent 0 "$t/w" || exit 1
# The reader waits, so that items take more than the second after which there is a line.
slowly() { { mert-decode --manifest "$t/train.tsv" "$@" 2>&3 3>&- | { sleep 1.2; head -c 150000; sleep 1.5; cat; } > "$t/out.mts"; } 3> "$t/said"; }
counted() { slowly --progress && grep -qE '[0-9] of 10 items, 0:00:0[0-9] of audio, [0-9.]+ times real time, 0:[0-9:]+ left' "$t/said" && mert-tensor check "$t/out.mts"; }
check "items, of how many, time left" counted
silent() { slowly && [ ! -s "$t/said" ]; }
check "nothing into a file" silent
if command -v script > "$t/found"; then
    piped() { script -qec "mert-decode --manifest '$t/train.tsv' | { sleep 1.2; head -c 150000; sleep 1.5; cat; } > '$t/out.mts'" /dev/null > "$t/said" < /dev/null && ! grep -q items "$t/said"; }
    forced() { script -qec "mert-decode --progress --manifest '$t/train.tsv' | { sleep 1.2; head -c 150000; sleep 1.5; cat; } > '$t/out.mts'" /dev/null > "$t/said" < /dev/null && grep -q 'of 10 items' "$t/said"; }
    check "none on a terminal, if another program reads from this one" piped
    check "there, too, if it is asked for" forced
else skip "on a terminal" "no script(1)"; fi
