# Compares what a block of the course printed with what the course says: awk -v percent=P -f compare.awk SAID PRINTED
#
# Blanks do not matter. Numbers may differ by P percent and by one unit of the last digit that is said, everything else
# not at all. A line "..." stands for any lines. Prints the first difference and exits with status 1 if there is one.
function abs(x) { return x < 0 ? -x : x }
function unit(s,    i) { # of the last digit; 0 for whole numbers
    if (s ~ /[eE]/ || !(i = index(s, "."))) return 0
    return 10 ^ (i - length(s))
}
# Takes the next number out of a text: what was before it is in before[side], the number in number[side].
function next_number(s, side) {
    if (!match(s, /[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?/)) { before[side] = s; number[side] = ""; return "" }
    before[side] = substr(s, 1, RSTART - 1); number[side] = substr(s, RSTART, RLENGTH)
    return substr(s, RSTART + RLENGTH)
}
function alike(said, printed,    a, b) {
    gsub(/[ \t]+/, " ", said); gsub(/[ \t]+/, " ", printed)
    sub(/^ /, "", said); sub(/^ /, "", printed); sub(/ $/, "", said); sub(/ $/, "", printed)
    if (said == printed) return 1
    if (!percent) return 0
    do {
        said = next_number(said, "said"); printed = next_number(printed, "printed")
        gsub(/ /, "", before["said"]); gsub(/ /, "", before["printed"]) # where numbers stand below each other
        if (before["said"] != before["printed"] || (number["said"] == "") != (number["printed"] == "")) return 0
        a = number["said"] + 0; b = number["printed"] + 0
        if (abs(a - b) > percent / 100 * (abs(a) > abs(b) ? abs(a) : abs(b)) + 1.001 * unit(number["said"])) return 0
    } while (number["said"] != "")
    return 1
}
NR == FNR { said[++n] = $0; next }
FNR == 1 { at = 1 }
{
    if (said[at] == "..." && at <= n) { skip = 1; at++ }
    if (at <= n && alike(said[at], $0)) { at++; skip = 0 }
    else if (!skip) {
        printf "line %d: \"%s\", but it says \"%s\"\n", FNR, $0, at <= n ? said[at] : "(nothing)"
        bad = 1
        exit 1
    }
}
END {
    if (!at) at = 1
    if (bad) exit 1
    if (at <= n && said[at] == "...") at++
    if (at <= n) { printf "nothing is printed like \"%s\"\n", said[at]; exit 1 }
}
