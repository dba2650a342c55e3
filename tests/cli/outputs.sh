# Outputs of the programs: devices, links, inputs; and no signal leaves an incomplete file.
. tests/shell
t=$TEST_TMP
piped() { sh -c "$*"; }
mert-tensor from-npy --kind mfcc $golden/kmeans/features.npy > "$t/features.mts"
mert-kmeans train -q -k 4 -o "$t/km" "$t/features.mts"
mert-kmeans assign -m "$t/km" "$t/features.mts" > "$t/codes.mts"

# ---- existing files ----
mkfifo "$t/fifo"
reads_fifo() {
    cat "$t/fifo" > "$t/read" &
    mert-tensor to-npy -o "$t/fifo" "$t/features.mts" && wait $! && [ -p "$t/fifo" ] && cmp "$t/read" $golden/kmeans/features.npy
}
check a_fifo_gets_an_array reads_fifo
mkfifo "$t/lonely" # it takes its time: the end is below
mert-kmeans train -q -k 4 -o "$t/lonely" "$t/features.mts" 2> "$t/lonely.said" &
lonely=$!
mkdir "$t/far"; echo old > "$t/far/real"; ln -s far/real "$t/link"
follows() { mert-kmeans train -q -k 4 -o "$t/link" "$t/features.mts" && [ -L "$t/link" ] && cmp "$t/far/real" "$t/km" && [ "$(ls "$t/far")" = real ]; }
check a_link_stays_and_its_target_is_replaced follows
check_fails a_folder_is_refused_before_the_work 1 'far: is a folder' mert-kmeans train -k 4 -o "$t/far" none.mts
check_fails no_such_folder_before_the_work 1 'no/km: cannot create: No such file' mert-kmeans train -k 4 -o "$t/no/km" none.mts
if mknod "$t/null" c 1 3 2> /dev/null && : 2> /dev/null > "$t/null"; then
    device() { mert-tensor to-npy -o "$t/null" "$t/features.mts" && [ -c "$t/null" ]; }
    check a_device_stays device
else
    echo "ok a_device_stays # SKIP no devices can be made here"
fi

mkdir -p "$t/scanned" "$t/listed"
mkfifo "$t/scanned/train.tsv" "$t/listed/files.tsv"
wavs "$t/heard" 0 2
check_fails a_manifest_that_is_a_fifo 1 'train.tsv: this FIFO has no reader' timeout 60 mert-manifest -q --out "$t/scanned" "$t/heard"
check_fails a_list_of_files_that_is_a_fifo 1 'files.tsv: is no regular file' timeout 60 mert-manifest -q --shards 2 --out "$t/listed" "$t/heard"

# ---- an output that is an input ----
cp "$t/features.mts" "$t/own.mts"
check_fails kmeans_over_its_input 1 'own.mts: is an input of this command' mert-kmeans train -q -k 4 -o "$t/own.mts" "$t/own.mts"
ln "$t/own.mts" "$t/other-name"
check_fails kmeans_over_its_input_by_another_name 1 'other-name: is an input' mert-kmeans train -q -k 4 -o "$t/other-name" "$t/own.mts"
check_fails kmeans_over_its_standard_input 1 'own.mts: is an input' piped "mert-kmeans train -q -k 4 -o $t/own.mts < $t/own.mts"
check_fails rvq_over_its_input 1 'own.mts: is an input' mert-rvq train -q --codebooks 1 --classes 4 -o "$t/own.mts" "$t/own.mts"
check_fails array_over_its_input 1 'own.mts: is an input' mert-tensor to-npy -o "$t/own.mts" "$t/own.mts"
cp "$t/codes.mts" "$t/own-codes.mts"
check_fails labels_over_their_input 1 'own-codes.mts: is an input' mert-tensor labels -o "$t/own-codes.mts" "$t/own-codes.mts"
check_fails labels_over_the_codebook 1 'km: is an input' piped "mert-kmeans assign -m $t/km --labels $t/km $t/features.mts > $t/x.mts"
check_fails sums_over_the_centroids 1 'km: is an input' mert-kmeans accumulate -m "$t/km" -o "$t/km" "$t/features.mts"
check_fails a_stream_onto_itself 1 'own.mts: is where standard output goes' piped "mert-tensor cat $t/own.mts >> $t/own.mts"
unchanged() { cmp "$t/own.mts" "$t/features.mts" && cmp "$t/own-codes.mts" "$t/codes.mts" && cmp "$t/km" "$t/far/real"; }
check none_of_them_changed unchanged

# ---- full disk, no permission ----
mkdir "$t/small"
check_fails too_large 1 'km: cannot write: File too large' piped "ulimit -f 1; mert-kmeans train -q -k 100 -o $t/small/km $t/features.mts"
empty() { [ -z "$(ls -A "$t/small")" ]; }
check too_large_leaves_nothing empty

# Printed output, and the error if it cannot be written.
unprinted() { check_fails "$1 onto a full disk" 1 '^mert-[a-z]*: cannot write to standard output: No space left on device$' piped "$1 > /dev/full"; }
if : 2> /dev/null > /dev/full; then
    mert-model init -q --recipe tiny -o "$t/model"
    for command in '--help' '--version'; do unprinted "mert-cqt $command"; done
    unprinted "mert-train --print-recipe"
    unprinted "mert-train --print-recipe --recipe tiny"
    unprinted "mert-model info $t/model"
    unprinted "mert-model verify $t/model"
    for command in ls stat; do unprinted "mert-tensor $command $t/features.mts"; done
    unprinted "mert-tensor cmp $t/features.mts $t/features.mts"
    unprinted "mert-kmeans --help"
else
    skip printed_onto_a_full_disk "no device /dev/full here"
fi

# ---- signals: a program waits with an incomplete label file, and ends by the signal ----
mkfifo "$t/in"
# otherwise a background process ignores SIGINT and SIGQUIT
ends_by() { # SIGNAL NUMBER
    mkdir -p "$t/signal"
    sh -c 'ulimit -c 0; echo $$ > "$1/pid"; exec env --default-signal mert-kmeans assign -m "$1/km" --labels "$1/signal/x.km" "$1/in" > /dev/null' - "$t" 2> "$t/said" &
    job=$!
    exec 3> "$t/in"
    cat "$t/features.mts" >&3
    n=0
    until ls "$t/signal" | grep -q 'x.km.tmp-'; do
        n=$((n + 1)); [ $n -lt 1000 ] || { echo "no temporary file came"; exec 3>&-; return 1; }
        sleep 0.02
    done
    kill -s "$1" "$(cat "$t/pid")"
    wait $job
    rc=$?
    exec 3>&-
    [ $rc -eq $((128 + $2)) ] && [ -z "$(ls -A "$t/signal")" ] || { echo "$1: exit $rc, left: $(ls "$t/signal")"; return 1; }
}
all_signals() {
    for s in HUP:1 INT:2 QUIT:3 ILL:4 TRAP:5 ABRT:6 FPE:8 USR1:10 SEGV:11 USR2:12 PIPE:13 ALRM:14 TERM:15 XCPU:24 VTALRM:26 PROF:27 SYS:31 RTMIN:34; do
        case $s in SEGV*|FPE*|ILL*|ABRT*|TRAP*) [ -n "${MERT_SANITIZED:-}" ] && continue ;; esac # a sanitizer has its own say
        case $s in RTMIN*) ends_by 34 34 ;; *) ends_by "${s%:*}" "${s#*:}" ;; esac || return 1
    done
}
check no_signal_leaves_a_file all_signals
downstream_goes() {
    for i in 1 2 3 4 5; do
        mert-kmeans assign -m "$t/km" --labels "$t/signal/x.km" "$t/features.mts" | head -c 10 > /dev/null
        [ -z "$(ls -A "$t/signal" | grep tmp)" ] || { ls "$t/signal"; return 1; }
    done
}
check a_reader_that_goes_away_leaves_no_file downstream_goes

nobody_reads() { wait $lonely; [ $? -eq 1 ] && grep -q 'lonely: this FIFO has no reader$' "$t/lonely.said" && [ -p "$t/lonely" ]; }
check a_fifo_that_nobody_reads nobody_reads
