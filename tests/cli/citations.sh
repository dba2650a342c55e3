# Citations are valid: a cited contract ("contract A1", "contracts A1, B2") has an entry in man/contracts.md; a cited
# section ("man/model.md 3.2") exists; the test files and cases of every contract exist; links in documents and names of
# source files refer to existing files.
. tests/shell

# The text files to check below a folder: all but sample streams, reference vectors and fuzz corpora.
texts() {
    (cd "$1" && find ./*.md Makefile config.mk formats libcommon tools plugins pipelines man tests -type d \( -name golden -o -name corpus -o -name valid -o -name invalid \) -prune \
        -o -type f -print 2> /dev/null | sed 's,^\./,,' | sort)
}

# Prints the invalid citations below a folder: FILE: WHAT.
dangling() {
    (cd "$1" && { printf '%s\n' man/contracts.md man/model.md; texts . | grep -vxE 'man/(contracts|model)\.md'; } | xargs awk '
    # existing contracts and sections; the two documents come first
    FILENAME == "man/contracts.md" && /^### / { define($2, "contract") }
    FILENAME == "man/model.md" && /^##+ [0-9]/ { sub(/\.$/, "", $2); define($2, "section") }
    function define(id, kind) {
        if (kind == "contract" && id !~ /^[A-Z][1-9][0-9]?$/) print FILENAME ": " id " is no number of a contract"
        if ((kind, id) in there) print FILENAME ": " id " comes twice"
        there[kind, id] = 1
    }
    # A citation may continue on the next line, after the mark of a comment.
    function cited(    rest, list, n, part, i) {
        for (rest = text; match(rest, /[Cc]ontracts? [A-Z][0-9][0-9]?((,| and|, and) [A-Z][0-9][0-9]?)*/); rest = substr(rest, RSTART + RLENGTH)) {
            list = substr(rest, RSTART, RLENGTH)
            gsub(/[Cc]ontracts?|and|,/, " ", list)
            n = split(list, part, " ")
            for (i = 1; i <= n; i++)
                if (!(("contract", part[i]) in there)) print name ": cites contract " part[i] ", which man/contracts.md does not have"
        }
        for (rest = text; match(rest, /model\.md [0-9]+(\.[0-9]+)?/); rest = substr(rest, RSTART + RLENGTH)) {
            list = substr(rest, RSTART + 9, RLENGTH - 9)
            if (!(("section", list) in there)) print name ": cites section " list ", which man/model.md does not have"
        }
        if (match(text, /\([SPFDAMBN][1-9][0-9]?\)/)) print name ": cites " substr(text, RSTART, RLENGTH) " without the word that says what it is"
        if (match(text, /(REFERENCE|DESIGN)(\.md| section| [0-9])/)) print name ": cites " substr(text, RSTART, RLENGTH) ", which is no document of this tree"
        text = ""
    }
    FNR == 1 { if (NR > 1) cited(); name = FILENAME }
    { line = $0; sub(/^[ \t]*(\/\*|\*|#|\/\/|\.\\")?[ \t]*/, "", line); text = text " " line }
    END { cited() }')
}

# Contracts without a test, and missing tests and cases: "Held by: `tests/cli/x.sh` (`a case`, `another`), `tests/...`."
unheld() {
    (cd "$1" && awk '
    function entry() { if (id != "" && !files) print "man/contracts.md: " id " names no test" }
    /^### / { entry(); id = $2; files = 0; held = 0 }
    /^## / { entry(); id = "" }
    /^Held by:/ { held = 1 }
    /^$/ { held = 0 }
    held && id != "" {
        n = split($0, part, "`")
        for (i = 2; i <= n; i += 2) {
            if (part[i] ~ /^tests\//) {
                file = part[i]; files++; found = ""
                line = ""
                there = (getline line < file) >= 0
                if (!there) print "man/contracts.md: " id ": there is no " file
                else { do found = found line "\n"; while ((getline line < file) > 0); close(file) }
            } else if (there && !index(found, part[i])) print "man/contracts.md: " id ": " file " has no case \"" part[i] "\""
        }
    }
    END { entry() }' man/contracts.md)
}

# Links from one file of the tree to another: [words](path).
broken_links() {
    (cd "$1" && texts . | grep '\.md$' | while read -r f; do
        grep -oE '\]\([^)]+\)' "$f" | sed 's/^](//; s/)$//; s/#.*//' | grep -vE '^$|^[a-z]+:' | while read -r to; do
            [ -e "$(dirname "$f")/$to" ] || echo "$f: a link to $to, which is not there"
        done
    done)
}

# Source files that headers and documents name, by their last part, and that are not in the tree.
lost_files() {
    list=$TEST_TMP/texts
    texts "$1" > "$list"
    (cd "$1" && { echo "$list"; grep -E '\.(h|md)$' "$list"; } | xargs awk -v list="$list" '
    FILENAME == list { sub(/.*\//, ""); there[$0] = 1; if (sub(/^[^.]*\.kernels/, "kernels")) there[$0] = 1; next } # "*.kernels.c" names them all
    /^[ \t]*#[ \t]*include/ { next }
    {
        for (rest = $0; match(rest, /[A-Za-z0-9_-]+\.[ch]([^A-Za-z0-9_]|$)/); rest = substr(rest, RSTART + RLENGTH)) {
            file = substr(rest, RSTART, RLENGTH)
            sub(/[^ch]$/, "", file)
            if (file !~ /^[A-Z]/ && !(file in there)) print FILENAME ": names " file ", which is not in the tree"
        }
    }')
}

none() { "$@" > "$TEST_TMP/found"; cat "$TEST_TMP/found"; [ ! -s "$TEST_TMP/found" ]; }
check "every citation has its entry" none dangling .
check "every contract has its tests" none unheld .
check "every link leads to a file" none broken_links .
check "every source file that is named is there" none lost_files .
cites() { [ "$(texts . | xargs grep -lE 'contracts? [A-Z][0-9]' | wc -l)" -gt 40 ] && [ "$(texts . | xargs grep -lE 'model\.md [0-9]' | wc -l)" -gt 15 ]; }
check "(there is something to find)" cites

# Each rule is tested with a tree that breaks it.
word=contract
tree() { # FILE TEXT...: of one sound contract, one section, and a file that has this text
    rm -rf "$TEST_TMP/tree"; mkdir -p "$TEST_TMP/tree/man" "$TEST_TMP/tree/tests/unit" "$TEST_TMP/tree/libcommon"
    printf '## A: answers\n\n### A1 Title\n\nText.\n\nHeld by: `tests/unit/a.c` (`one_case`).\n' > "$TEST_TMP/tree/man/contracts.md"
    printf '## 1. Title\n\n### 1.2 Title\n\n' > "$TEST_TMP/tree/man/model.md"
    echo 'TEST(one_case)' > "$TEST_TMP/tree/tests/unit/a.c"
    file=$1; shift
    printf "$@" >> "$TEST_TMP/tree/$file"
}
all_rules() { dangling "$1"; unheld "$1"; broken_links "$1"; lost_files "$1"; }
# FILE LINE PATTERN: checks the result for that line in that file
finds() { tree "$1" '%b\n' "$2"; all_rules "$TEST_TMP/tree" > "$TEST_TMP/said"; grep -qE "$3" "$TEST_TMP/said" || { cat "$TEST_TMP/said"; return 1; }; }
silent() { tree "$1" '%b\n' "$2"; all_rules "$TEST_TMP/tree" > "$TEST_TMP/said"; cat "$TEST_TMP/said"; [ ! -s "$TEST_TMP/said" ]; }
check "a sound tree is sound" silent libcommon/a.h "/* ($word A1), ${word}s A1 and A1; man/model.md 1.2, man/model.md 1. */"
check "what looks like a number is none" silent libcommon/a.h '"F32", U8, I64, C11, F1 of all answers, xargs -P2, od -N8, W1 x + b1, MIDI A4'
check "a contract that there is not" finds libcommon/a.h "/* by $word A2 */" '^libcommon/a.h: cites [a-z]* A2,'
check "the second of two" finds tests/unit/a.c "/* ${word}s A1, Z9 */" '^tests/unit/a.c: cites [a-z]* Z9,'
check "over the end of a line" finds libcommon/a.h " * as told by $word\n * B7). */" '^libcommon/a.h: cites [a-z]* B7,'
check "a section that there is not" finds libcommon/a.h '/* man/model.md 1.3 */' '^libcommon/a.h: cites section 1.3,'
check "a number without its word" finds libcommon/a.h '/* passed on (S''7) */' '^libcommon/a.h: cites \(S7\) without'
check "a document that is not in the tree" finds libcommon/a.h '/* REFER''ENCE section 2 */' 'no document of this tree'
check "a contract twice" finds man/contracts.md '### A1 Again\n\nHeld by: `tests/unit/a.c`.' 'A1 comes twice'
check "a contract without a test" finds man/contracts.md '\n### A2 Promise\n\nText.' '^man/contracts.md: A2 names no test'
check "a test file that is not there" finds man/contracts.md '\n### A2 Promise\n\nHeld by: `tests/unit/b.c`.' 'A2: there is no tests/unit/b.c'
check "a case that is not there" finds man/contracts.md '\n### A2 Promise\n\nHeld by: `tests/unit/a.c` (`one_case`,\n`two_cases`).' 'A2: tests/unit/a.c has no case "two_cases"'
check "a link that leads nowhere" finds man/model.md '[here](nowhere.md)' '^man/model.md: a link to nowhere.md'
check "a source file that is not there" finds libcommon/a.h '/* as in b.h, a.h and vector.kernels.c */' '^libcommon/a.h: names b.h, which is not'
