# Every program has a page, and --help and the page have the same options. The common options are in mert(7).
. tests/shell
t=$TEST_TMP

# Long options in --help, of the program and of each of its commands: its own, and the common ones.
commands() { "$1" --help | sed -n '/^commands/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'; }
helps() {
    "$1" --help || return
    for c in $(commands "$1"); do "$1" "$c" --help || return; done
}
listed() { sed -n 's/^  \(   \|-.,\) --\([a-z][a-z0-9-]*\).*/\2/p' | sort -u; }
own_options() { helps "$1" | sed '/^options of every program/,/--help, --version$/d' | listed; }
common_options() { helps "$1" | sed -n '/^options of every program/,/--help, --version$/p' | listed; }
# Long options in a page: ".It Fl Fl name", ".It Fl x , Fl Fl name Ar N".
documented() { sed -n 's/^\.It //p' "$1" | grep -oE 'Fl Fl [a-z][a-z0-9-]*' | sed 's/Fl Fl //' | sort -u; }

same_options() { # PROGRAM PAGE
    own_options "$1" > "$t/own"; common_options "$1" > "$t/common"
    documented "$2" > "$t/page"; documented man/mert.7 > "$t/overview"
    [ -s "$t/common" ] || { echo "$1 --help lists no options"; return 1; }
    sort -u "$t/page" "$t/overview" > "$t/pages"; sort -u "$t/own" "$t/common" > "$t/help"
    missing=$(comm -23 "$t/own" "$t/page"; comm -23 "$t/common" "$t/pages")
    unknown=$(sed '/^no-/d; /^help$/d; /^version$/d' "$t/page" | comm -23 - "$t/help")
    [ -z "$missing" ] || { echo "$2 does not document:" $missing; return 1; }
    [ -z "$unknown" ] || { echo "$1 --help does not know:" $unknown; return 1; }
}
names_commands() { # PROGRAM PAGE
    for c in $(commands "$1"); do
        grep -q "Cm $c\( \|$\)" "$2" || { echo "$2 does not name the command $c"; return 1; }
    done
}
sections() {
    for s in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        grep -qx "\.Sh $s" "$1" || { echo "$1 has no section $s"; return 1; }
    done
}
# A default that --help shows, "[100]", is a word or a number of the option's item in the page. Not 0, -1, yes and no.
defaults() { # PROGRAM
    helps "$1" | sed '/^options of every program/,/--help, --version$/d' |
        sed -n 's/^  \(   \|-.,\) --\([a-z][a-z0-9-]*\) .*\[\([^] ]*\)\]\( (.* to .*)\)*$/\2 \3/p' |
        grep -v ' \(0\|-1\|yes\|no\)$' | sort -u
}
same_defaults() { # PROGRAM PAGE
    defaults "$1" > "$t/defaults"
    awk -v page="$2" '
        function says(o, d) { return (o, d) in said || (d ~ /^[0-9.]/ && (o, d + 0) in said) }
        NR == FNR { line[NR] = $0; lines = NR; next }
        /^\.S[hs] / { n = 0 }
        /^\.It .*Fl Fl / {
            n = split($0, part, /Fl Fl /) - 1
            for (i = 1; i <= n; i++) { name[i] = part[i + 1]; sub(/[ ,].*/, "", name[i]) }
            next
        }
        n {
            words = split($0, word, /[^A-Za-z0-9.+-]+/)
            for (w = 1; w <= words; w++) {
                sub(/\.$/, "", word[w])
                for (i = 1; i <= n; i++) { said[name[i], word[w]]; if (word[w] ~ /^[0-9.]/) said[name[i], word[w] + 0] }
            }
        }
        END {
            for (l = 1; l <= lines; l++) {
                split(line[l], d, " ")
                if (!says(d[1], d[2])) { print page " does not state the default " d[2] " of --" d[1]; bad = 1 }
            }
            exit bad
        }' "$t/defaults" "$2"
}
licences() { "$1" --version > "$t/version" && grep -q MIT "$t/version" && grep -q GPL "$t/version"; }

for tool in tools/mert-*.c; do
    tool=$(basename "$tool" .c)
    check "${tool}_page_and_help_agree" same_options "$tool" "man/$tool.1"
    check "${tool}_page_states_defaults" same_defaults "$tool" "man/$tool.1"
    check "${tool}_page_names_all_commands" names_commands "$tool" "man/$tool.1"
    check "${tool}_page_has_its_sections" sections "man/$tool.1"
    check "${tool}_version_names_licences" licences "$tool"
done

# A page without an option, or with an extra one, is an error.
cat > "$t/fake" <<'END'
#!/bin/sh
printf 'usage: fake\n\noptions:\n  -k, --bins N   bins\n      --log      log\n\n'
printf 'options of every program:\n  -v, --verbose   more\n      --help, --version\n'
END
chmod +x "$t/fake"
printf '.It Fl k , Fl Fl bins Ar N\n.It Fl Fl log\n' > "$t/good.1"
printf '.It Fl Fl bins Ar N\n' > "$t/lacks.1"
printf '.It Fl Fl bins Ar N\n.It Fl Fl log\n.It Fl Fl fancy\n' > "$t/dreams.1"
check a_page_that_agrees same_options "$t/fake" "$t/good.1"
lacks() { same_options "$t/fake" "$t/lacks.1" | grep -q 'does not document: log'; }
dreams() { same_options "$t/fake" "$t/dreams.1" | grep -q 'does not know: fancy'; }
check a_missing_option_is_noticed lacks
check an_invented_option_is_noticed dreams
cat > "$t/fake" <<'END'
#!/bin/sh
printf 'options:\n      --lr X      rate [1e-05] (0 to 1)\n      --to WHAT   layout: a|b [b]\n'
END
printf '.It Fl Fl lr Ar X\nThe default is 0.00001.\n.It Fl Fl to Cm a | b\nThe default is\n.Cm b .\n' > "$t/good.1"
printf '.It Fl Fl lr Ar X\nThe default is 0.0001.\n.It Fl Fl to Cm a | b\n.El\n' > "$t/lacks.1"
check defaults_that_agree same_defaults "$t/fake" "$t/good.1"
defaults_lack() {
    ! same_defaults "$t/fake" "$t/lacks.1" > "$t/said" &&
        [ "$(grep -c 'default \(1e-05 of --lr\|b of --to\)' "$t/said")" = 2 ]
}
check missing_and_wrong_defaults_are_noticed defaults_lack

# Each option of a program, in its long, its short or its --no- form, is in a test that names the program; each setting
# of a recipe is given a value in a test.
in_tests() { # PROGRAM FILES...: prints what is not
    tool=$1; shift
    grep -l -- "$tool" "$@" > "$t/naming"
    helps "$tool" | sed '/^options of every program/,/--help, --version$/d' | sed -n 's/^  \(   \|-\(.\),\) --\([a-z][a-z0-9-]*\).*/\3 \2/p' | sort -u |
        while read -r long short; do
            xargs grep -qE -- "(^|[^a-z-])(--(no-)?$long${short:+|-$short})([^a-z0-9-]|\$)" < "$t/naming" || echo "no test has $tool --$long"
        done
}
all_in_tests() { in_tests "$1" tests/cli/*.sh tests/training > "$t/untested"; cat "$t/untested"; [ ! -s "$t/untested" ]; }
for tool in tools/mert-*.c; do tool=$(basename "$tool" .c); check "${tool}_options_are_in_tests" all_in_tests "$tool"; done
settings_in_tests() {
    mert-train --print-recipe | sed -n 's/^\([a-z_0-9]*\) = .*/\1/p' > "$t/settings"
    while read -r s; do grep -qE "(^|[^a-z_])$s ?=" tests/cli/*.sh tests/unit/*.[ch] tests/training || echo "no test has $s"; done < "$t/settings" > "$t/untested"
    cat "$t/untested"; [ "$(grep -c . "$t/settings")" -gt 100 ] && [ ! -s "$t/untested" ]
}
check recipe_settings_are_in_tests settings_in_tests
cat > "$t/fake" <<'END'
#!/bin/sh
printf 'options:\n  -k, --bins N    bins\n      --log       log\n      --loud      loud\n      --[x]\n'
END
printf '%s -k 3 --no-log --louder --bin\n' "$t/fake" > "$t/a_test.sh"
untested() { in_tests "$t/fake" "$t/a_test.sh" > "$t/untested" && [ "$(cat "$t/untested")" = "no test has $t/fake --loud" ]; }
check an_option_without_a_test_is_noticed untested

# Pages refer to existing pages, and mandoc finds no errors.
references() {
    grep -hoE '^\.Xr mert[a-z-]* [157]|\.Xr mert[a-z-]* [157]' man/*.[157] | sort -u | while read -r _ name section; do
        [ -f "man/$name.$section" ] || echo "no such page: $name($section)"
    done > "$t/dangling"
    cat "$t/dangling"; [ ! -s "$t/dangling" ]
}
check references_exist references
if command -v mandoc > /dev/null; then check pages_are_well_formed mandoc -T lint -W warning man/*.[157]
else skip pages_are_well_formed "no mandoc"; fi

formats() { # PAGE: without a word from the formatter, and down to its last line
    groff -mdoc -Tutf8 -K utf8 -ww "$1" 2> "$t/said" > "$t/text"
    [ ! -s "$t/said" ] || { head -n 3 "$t/said"; return 1; }
}
if command -v groff > /dev/null; then
    for page in man/*.[157]; do check "$page formats" formats "$page"; done
else skip "pages format" "no groff"; fi
