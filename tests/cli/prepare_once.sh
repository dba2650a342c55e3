# pipelines/prepare.mk: one run at a time, even after kills; dates in the future; SALVAGE and MAX_FAILED.
. tests/shell
t=$TEST_TMP
prepare() {
    env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -f pipelines/prepare.mk AUDIO="${music:-$t/music}" VALID=30 SHARDS=2 K=4 -j2 FEATURES='mert-mel --bins 16 --n-fft 512 --log' \
        TRAIN.kmeans='--n-init 1 --max-iter 3' "$@"
}
all='train.tsv valid.tsv train.km train.km.meta valid.km valid.km.meta kmeans.safetensors'
same() { for f in $all; do cmp "$t/whole/$f" "$t/$1/$f" || return 1; done; }
within() { n=0; until "$@"; do sleep 0.1; n=$((n + 1)); [ $n -lt 1200 ] || return 1; done; }
wavs "$t/music" 0 10
check whole prepare OUT="$t/whole"

# ---- the lock ----

mkdir "$t/d"
mkfifo "$t/hold"
sh pipelines/hold prepare "$t/d" sh -c 'echo > "$1/is"; read -r _ < "$1/hold"' - "$t" & holder=$!
check held within test -e "$t/is"
second() { prepare OUT="$t/d" > /dev/null 2> "$t/said"; [ $? -eq 2 ] && grep -qx "prepare: $t/d: in use by process $holder on $(uname -n): wait for it, or end it" "$t/said" && [ "$(ls -A "$t/d")" = .lock ]; }
check a_second_run_is_refused_and_does_nothing second
# The first run is killed; a process that it started still runs, and is named.
echo > "$t/hold"; wait $holder
sh pipelines/hold prepare "$t/d" sh -c 'sh -c "echo \$\$ > \"\$1/child\"; read -r _ < \"\$1/hold\"" - "$1"; :' - "$t" & holder=$!
check held_again within test -s "$t/child"
kill -9 $holder; wait $holder 2> /dev/null
second_child() { prepare OUT="$t/d" > /dev/null 2> "$t/said"; [ $? -eq 2 ] && grep -q "in use by process $(cat "$t/child") on" "$t/said"; }
check what_lives_on_of_a_killed_run_is_named second_child
echo > "$t/hold"
check it_ends within flock -n "$t/d/.lock" true
after() { prepare OUT="$t/d" && same d; }
check then_the_lock_is_free after
unlocked() {
    mkdir -p "$t/no" && printf '#!/bin/sh\necho "flock: no locks" >&2\nexit 71\n' > "$t/no/flock" && chmod +x "$t/no/flock" &&
        PATH=$t/no:$PATH prepare OUT="$t/u" 2> "$t/said" && grep -q 'u/.lock: cannot be locked' "$t/said" && same u
}
check a_file_system_without_locks_is_named unlocked
check killed_at_random_moments sh tests/prepare_killed 3 "$$"

# ---- dates in the future ----

did() { grep -oE '^mert-[a-z]+' "$t/did" | sort | uniq -c | awk '{ printf "%s%s %s", n++ ? ", " : "", $2, $1 }'; }
nothing() { prepare OUT="$t/d" > "$t/did" && [ -z "$(did)" ] || { did; return 1; }; }
once() { # FILES: dated in the future, things are made again once, and are the same
    find "$@" -type f ! -name .lock -exec touch -d '+2 days' {} + && prepare OUT="$t/d" > "$t/did" && same d && nothing
}
check all_of_it_dated_in_the_future once "$t/d"
check parts_dated_so once "$t/d/shards"
check samples_dated_so once "$t/d/pcm"
check an_alphabet_dated_so once "$t/d/kmeans.safetensors"
# Features with a time in the future do not hide a changed file.
stale() {
    wavs "$t/other" 20 30 && for f in 0 1 2 3 4 5 6 7 8 9; do cp "$t/other/02/002$f.wav" "$t/music/00/000$f.wav"; done && find "$t/d/features" "$t/d/codes" "$t"/d/*.km -type f -exec touch -d '+2 days' {} + &&
        prepare OUT="$t/d" && cp "$t/d/kmeans.safetensors" "$t/kept" && prepare OUT="$t/new" > /dev/null && mkdir -p "$t/new2" && cp "$t/kept" "$t/new/kmeans.safetensors" && rm -r "$t/new/codes" "$t"/new/*.km && prepare OUT="$t/new" > "$t/did" &&
        cmp "$t/new/train.km" "$t/d/train.km" && ! cmp -s "$t/whole/train.km" "$t/d/train.km"
}
check no_stale_labels stale

# ---- files that fail ----

mkdir "$t/hurt"; wavs "$t/hurt" 0 6
head -c 3000 "$t/hurt/00/0001.wav" > "$t/cut" && mv "$t/cut" "$t/hurt/00/0001.wav"
way_on() { music=$t/hurt prepare OUT="$t/h" > /dev/null 2> "$t/said"; [ $? -eq 2 ] && grep -q '0001.wav' "$t/said" && grep -qx 'prepare: MAX_FAILED=N or N% leaves out files that fail, by name; SALVAGE=yes takes .*' "$t/said"; }
check a_damaged_file_stops_it_and_the_way_on_is_said way_on
left_out() { music=$t/hurt prepare OUT="$t/h" MAX_FAILED=1 && ! grep -q 0001.wav "$t"/h/train.tsv "$t"/h/valid.tsv; }
check max_failed_leaves_it_out left_out
salvaged() { music=$t/hurt prepare OUT="$t/h" SALVAGE=yes && grep -q '0001.wav	1478$' "$t"/h/train.tsv "$t"/h/valid.tsv && [ "$(cat "$t"/h/train.km "$t"/h/valid.km | wc -l)" -eq 6 ]; }
check salvage_takes_what_plays salvaged
