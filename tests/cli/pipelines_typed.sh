# pipelines/ as one types them: the scripts find the programs beside them, mert-prepare(1) has all settings and goals,
# and the goal `fairseq` writes what fairseq reads.
. tests/shell
t=$TEST_TMP

# A tree after `make`, and a PATH without the programs.
mkdir -p "$t/tree" "$t/system"
ln -s "$OUT" "$t/tree/build"
cp -r pipelines "$t/tree/pipelines" # a link would lead to the build folder beside the real one
for p in sh awk basename cat cmp cp cut date dirname env expr find flock grep head ls make mkdir mv nproc printf readlink \
    rm rmdir sed seq sort tail touch tr uname uniq wc xargs; do
    file=$(IFS=:; for d in $PATH; do [ ! -x "$d/$p" ] || { echo "$d/$p"; break; }; done) # command -v names builtins
    [ -z "$file" ] || ln -s "$file" "$t/system/$p"
done
wavs "$t/music" 0 12
alone() { (cd "$t/tree" && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u BIN PATH="$t/system" "$@"); }
absent() { ! alone sh -c 'command -v mert-manifest'; }
check "the programs are not on PATH" absent
settings="AUDIO=$t/music VALID=30 SHARDS=1 K=4 RATE=16000"
prepared() { alone pipelines/prepare OUT="$t/a" $settings && [ -s "$t/a/train.km" ]; }
check "pipelines/prepare finds them beside it" prepared
given() { alone pipelines/prepare OUT="$t/none" $settings BIN="$t/nowhere" 2>&1 | grep -q "$t/nowhere/mert-manifest"; }
check "a BIN that is given counts" given
in_environment() { (cd "$t/tree" && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS BIN="$t/nowhere" PATH="$t/system" pipelines/prepare OUT="$t/none" $settings) 2>&1 | grep -q "$t/nowhere/mert-manifest"; }
check "and so does one of the environment" in_environment
probes() { alone pipelines/probe "$t/p" m="$t/none" 2> "$t/said"; [ $? -eq 2 ] && grep -q 'no model that mert-encode opens' "$t/said" && ! grep -q 'not found' "$t/said"; }
check "pipelines/probe finds them beside it" probes
nowhere() { cp -r pipelines "$t/copied" && PATH=$t/system sh "$t/copied/probe" "$t/p"; }
check_fails "no programs anywhere" 1 'probe: mert-model is neither on PATH nor in .*/build/bin: make, or set PATH$' nowhere

# ---- fairseq ----

for_fairseq() { alone pipelines/prepare OUT="$t/f" $settings "$@" fairseq; }
check "labels for fairseq" for_fairseq TEACHERS='kmeans rvq' CODEBOOKS=2
lists() { # rows of the manifest and of each label file; every label is a class of the dictionary
    for half in train valid; do
        n=$(($(wc -l < "$t/f/fairseq/$half.tsv") - 1))
        for l in km rvq_0 rvq_1; do
            [ "$(wc -l < "$t/f/fairseq/$half.$l")" -eq $n ] && [ "$(wc -l < "$t/f/fairseq/dict.$l.txt")" -eq 4 ] || return 1
            awk 'NR == FNR { class[$1] = $2 == 1; next } !NF { exit 1 } { for (i = 1; i <= NF; i++) if (!class[$i]) exit 1 }' \
                "$t/f/fairseq/dict.$l.txt" "$t/f/fairseq/$half.$l" || return 1
        done
    done
    cmp "$t/f/train.km" "$t/f/fairseq/train.km"
}
check "manifests, labels and dictionaries" lists
echo mine > "$t/f/fairseq/mine"
check "fewer codebooks" for_fairseq TEACHERS='kmeans rvq' CODEBOOKS=1
fewer() { [ "$(ls "$t/f/fairseq" | tr '\n' ' ')" = "dict.km.txt dict.rvq_0.txt mine train.km train.km.meta train.rvq_0 train.rvq_0.meta train.tsv valid.km valid.km.meta valid.rvq_0 valid.rvq_0.meta valid.tsv " ]; }
check "files of the earlier run are gone, those of others stay" fewer
echo damaged > "$t/music/x.wav"
check "a file that fails is left out" for_fairseq TEACHERS=kmeans MAX_FAILED=1
without() { lines=$(cat "$t/f/fairseq/train.km" "$t/f/fairseq/valid.km" | grep -c .); [ "$lines" -eq 12 ] && ! grep -q '^$' "$t/f/fairseq/train.km" "$t/f/fairseq/valid.km"; }
check "and no line is empty" without

# ---- the page ----

described() { # every setting of prepare.mk, and every goal
    sed -n 's/^\([A-Z_]\{1,\}\) *?=.*/\1/p' pipelines/prepare.mk | grep -vx TEACHER | while read -r name; do
        grep -qE "^\.It Cm (.* )?$name( |$)" man/mert-prepare.1 || grep -qE "^\.Cm $name$" man/mert-prepare.1 || echo "no $name"
    done
    for goal in $(sed -n 's/^\(all .*\): hold$/\1/p' pipelines/prepare.mk); do
        [ $goal = all ] || grep -q "^.Cm $goal\( \|$\)" man/mert-prepare.1 || echo "no $goal"
    done
}
all_described() { described > "$t/lacks"; [ ! -s "$t/lacks" ] || { cat "$t/lacks"; return 1; }; }
check "mert-prepare(1) has every setting and goal" all_described
