# make bench-check: which rows it names, and its exit status. Its programs, valgrind and the compiler are stand-ins: a
# row costs 1000 instructions if it is a start, else 3000, or what $COSTS says ("avx2.cqt=3300 generic.mel=fails").
. tests/shell
t=$TEST_TMP
mkdir -p "$t/build/bin" "$t/build/bench" "$t/tools"
stand_in() { printf '#!/bin/sh\n%s\n' "$2" > "$1"; chmod +x "$1"; }
for p in mert-decode mert-tensor mert-mel mert-model ffmpeg; do stand_in "$t/build/bin/$p" 'exit 0'; done
stand_in "$t/build/bench/inputs" 'exit 0'
stand_in "$t/tools/cc" 'echo "cc (Test) ${COMPILER:-1.0}"'
# shellcheck disable=SC2016
stand_in "$t/tools/valgrind" '
case $1 in --version) echo valgrind-test; exit 0 ;; esac
for a; do case $a in --callgrind-out-file=*) file=${a#*=} ;; esac; done
row=$(basename "$file" .callgrind)
case $row in *-start) cost=1000 ;; *) cost=3000 ;; esac
for c in ${COSTS:-}; do [ "${c%=*}" = "$row" ] && cost=${c#*=}; done
[ "$cost" != fails ] || { echo "no such option" >&2; exit 2; }
echo "totals: $cost" > "$file"'

tab=$(printf '\t')
sh=$(command -v sh)

build() { env OUT="$t/build" PATH="$t/tools:$PATH" TABLE="$t/table" CC="$t/tools/cc" CFLAGS=-O3 "$@"; }
run() { build "$@" sh tests/bench/check > "$t/said" 2>&1; }
says() { grep -q -- "$1" "$t/said" || { cat "$t/said"; return 1; }; }
silent() { ! grep -q -- "$1" "$t/said"; }
row() { grep -q "^$1$tab$2$tab$3\$" "$t/table"; }

kept() { run KEEP=1 && says 'has 46 counts' && row avx2 cqt 2000 && row generic cqt-start 1000; }
check "the counts of a build are kept, without the start of the program" kept

same() { run && says '46 counts, none more than 10 % above' && silent LOST; }
check "the same build passes" same
little() { run COSTS='avx2.cqt=3190 generic.mel=3150' && says '46 counts, none'; }
check "less than a tenth more passes" little
lost() {
    ! run COSTS='avx2.cqt=3210 generic.rvq-encode=3400' && says '^avx2 *cqt .*1\.105   LOST' &&
        says 'lost more than 10 %: avx2 cqt, generic rvq-encode, if'
}
check "rows that lost more than a tenth are named" lost
start() { ! run COSTS='avx2.cqt-start=1200 avx2.cqt=3200' && says 'lost more than 10 %: avx2 cqt-start, if'; }
check "a start that lost does not hide in its row" start
gained() { run COSTS='avx2.cqt=2500 generic.mel=2000' && says '2 counts are below 0.9' && says '46 counts, none'; }
check "rows that gained are to be kept" gained
broken() {
    ! run COSTS='generic.mel-start=fails' && says 'generic mel-start: no such option' &&
        says 'failed: generic mel-start generic mel$'
}
check "a row that fails is named" broken

quick() { run QUICK=1 && says '^avx2 *cqt ' && silent cqt-log && silent train-step; }
check "the quick part" quick
some() { run ROWS='mfcc cqt' && says '6 counts, none' && says 'cqt-start'; }
check "some rows, and what they are counted from" some
check_fails "no such row" 1 "no row is named 'mfc'" build ROWS=mfc sh tests/bench/check
unknown() {
    grep -v "${tab}mfcc$tab" "$t/table" > "$t/less" && mv "$t/less" "$t/table" &&
        ! run && says 'not in the table: avx2 mfcc, generic mfcc, make'
}
check "a row that the table does not have is named" unknown

other() { run COMPILER=2.0 && says 'skipped: the counts of .* are of another build' && says 'here:  (Test) 2.0, -O3'; }
check "another compiler is not compared with" other
check_fails "a part is not kept" 1 'KEEP needs all rows' build KEEP=1 QUICK=1 sh tests/bench/check
absent() { (PATH=$t/nothing; "$sh" tests/bench/check) > "$t/said" 2>&1 && says 'skipped: no valgrind'; }
check "without valgrind it is skipped, and says so" absent
