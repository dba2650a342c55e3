# The course (man/course): every command works, and prints what the course says; its pictures are those that the
# commands draw; mert-tutorial(7) has the same text; each chapter has its parts.
. tests/shell
t=$TEST_TMP
course=$PWD/man/course
root=$PWD
chapters=$(ls "$course"/[01][0-9]-*.md)

# ---- comparing ----

same() { # PERCENT SAID PRINTED
    printf "$2" > "$t/said"; printf "$3" > "$t/printed"
    awk -v percent="$1" -f "$course/compare.awk" "$t/said" "$t/printed"
}
differ() { ! same "$@"; }
check "the same text" same 0 'a 1\nb\n' 'a  1\nb\n'
check "another number" differ 0 'a 100\n' 'a 101\n'
check "a number within its percent" same 2 'a 100 (0.50, -3e-5)\n' 'a 101 (0.505, -3.01e-5)\n'
check "a number outside of them" differ 2 'a 100\n' 'a 103\n'
check "another sign" differ 2 'a 1.00\n' 'a -1.00\n'
check "one unit of the last digit" same 2 '0.1\n' '0.2\n'
check "two units" differ 2 '0.1\n' '0.3\n'
check "another word between numbers" differ 5 '1 of 2\n' '1 by 2\n'
check "a number more" differ 5 '1 2\n' '1 2 3\n'
check "lines that are left out" same 0 'a\n...\nd\n' 'a\nb\nc\nd\n'
check "nothing left out" same 0 'a\n...\n' 'a\n'
check "what comes after them is missing" differ 0 'a\n...\nd\n' 'a\nb\n'
check "a line too few" differ 0 'a\nb\n' 'a\n'
check "nothing printed" differ 0 'a\n' ''
check "a line too many" differ 0 'a\n' 'a\nb\n'

# ---- the chapters ----

parts() { # each chapter has them, in this order; lines and columns
    [ "$(printf '%s\n' "$chapters" | wc -l)" -eq 10 ] || { echo "not ten chapters"; return 1; }
    for f in $chapters; do
        awk -v f="${f##*/}" '
            function no(what) { print f ": " what; bad = 1 }
            /^```/ { printed = $0 ~ /^```text/ }
            !printed && length($0) > 120 { no("line " NR " has more than 120 columns") }
            /^## / { seen = seen substr($0, 4) ";" }
            /^## Questions/ { questions = 1 }
            questions && /^[0-9]\. / { if ($1 != ++q ".") no("question " $1) }
            /^!\[/ { pictures++ }
            END {
                if (NR > 120) no(NR " lines")
                if (seen !~ /^What it does and why;The command;The picture;(Training further;)?A setting to change: [^;]*;Questions;$/) no("parts: " seen)
                if (q != 3) no(q + 0 " questions")
                if (pictures != 1) no(pictures + 0 " pictures")
                exit bad
            }' "$f" || return 1
        grep -q "(${f##*/})" "$course/README.md" || { echo "README.md does not name ${f##*/}"; return 1; }
    done
}
check "every chapter has its parts" parts
page() { sh "$course/page" > "$t/mert-tutorial.7" && cmp "$t/mert-tutorial.7" man/mert-tutorial.7; }
check "mert-tutorial(7) is up to date (sh man/course/page > man/mert-tutorial.7)" page
named() { # the page names each picture by its path below $mert, which a reader of an installed page can open
    [ "$(grep -c '^The picture in ' man/mert-tutorial.7)" -eq 10 ] || { echo "not ten pictures"; return 1; }
    sed -n 's,^The picture in \\fB\$mert/\(.*\)\\fR:$,\1,p' man/mert-tutorial.7 > "$t/named"
    [ "$(wc -l < "$t/named")" -eq 10 ] || { echo "pictures without \$mert"; return 1; }
    while read -r f; do [ -s "$f" ] || { echo "no $f"; return 1; }; done < "$t/named"
}
check "the page names the pictures where they are" named

# ---- the commands ----

for p in fluidsynth ffmpeg; do
    command -v $p > "$t/found" || { skip "the commands of the course" "no $p"; exit; }
done
[ -f /usr/share/sounds/sf2/FluidR3_GM.sf2 ] || { skip "the commands of the course" "no soundfont FluidR3_GM"; exit; }
plots=yes
command -v mert-plot > "$t/found" || {
    plots=no
    mkdir -p "$t/stub"; printf '#!/bin/sh\ncat > /dev/null\n' > "$t/stub/mert-plot"; chmod +x "$t/stub/mert-plot"
    PATH=$PATH:$t/stub
}
mkdir -p "$t/blocks" "$t/tree" "$t/home"
ln -s "$OUT" "$t/tree/build"
ln -s "$root/pipelines" "$t/tree/pipelines"
# shellcheck disable=SC2086 # file names
check "the blocks are sh and text" awk -v out="$t/blocks" -f "$course/blocks.awk" "$course/README.md" $chapters

# One shell types all blocks. It ends at the first command that fails; `at` then has the number of its block.
{
    echo 'set -e'
    while read -r n _ how _; do
        b=$t/blocks/$n
        echo "echo $n > '$t/at'"
        if [ "$how" = fails ]; then echo "set +e; . '$b.sh' > '$b.printed' 2>&1 && exit 1; set -e"
        else echo ". '$b.sh' > '$b.printed' 2>&1"; fi
    done < "$t/blocks/list"
    echo "echo all > '$t/at'"
} > "$t/typed"
(cd "$t/tree" && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS HOME="$t/home" sh "$t/typed" < /dev/null 2> "$t/typed.err")
reached=$(cat "$t/at")

prints() { # BLOCK PERCENT
    [ "$reached" = all ] || [ "$1" -le "$reached" ] || { echo "not reached"; return 1; }
    [ "$1" != "$reached" ] || { cat "$t/blocks/$1.sh" "$t/blocks/$1.printed" "$t/typed.err"; return 1; }
    [ -f "$t/blocks/$1.text" ] || return 0
    awk -v percent="$2" -f "$course/compare.awk" "$t/blocks/$1.text" "$t/blocks/$1.printed" || { cat "$t/blocks/$1.printed"; return 1; }
}
while read -r n where _ percent; do check "${where##*/}" prints "$n" "$percent"; done < "$t/blocks/list"

# ---- the pictures ----

size() { # of a PNG or SVG: "WIDTH HEIGHT"
    case $1 in
    *.png) od -A n -t u1 -j 16 -N 8 "$1" | awk '{ print ($3 * 256) + $4, ($7 * 256) + $8 }' ;;
    *) sed -n 's/.*<svg[^>]* width="\([0-9]*\)[^"]*" height="\([0-9]*\).*/\1 \2/p' "$1" | head -n 1 ;;
    esac
}
drawn() { # NAME: it has the size of the one in the chapter; if it only depends on the music, it looks like it
    { [ -s "$t/home/course/$1" ] && [ -n "$(size "$t/home/course/$1")" ]; } || { echo "$1 is not drawn"; return 1; }
    [ "$(size "$t/home/course/$1")" = "$(size "$course/pictures/$1")" ] || { echo "$1: another size than pictures/$1"; return 1; }
    case $1 in # the other pictures show numbers of classes, or what a training found
    samples.png | cqt.png | mel.png) ! command -v picture > "$t/found" || picture near "$t/home/course/$1" "$course/pictures/$1" 10 ;;
    esac
}
# shellcheck disable=SC2013,SC2086 # file names
for p in $(cat $chapters | sed -n 's,^!\[.*\](pictures/\(.*\))$,\1,p'); do
    if [ $plots = yes ]; then check "$p" drawn "$p"; else skip "$p" "mert-plot is not built"; fi
done
