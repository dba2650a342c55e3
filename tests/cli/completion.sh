# pipelines/completion: what bash offers for the programs, from their --help; make dist: the sources as they are committed.
. tests/shell
t=$TEST_TMP
cat > "$t/offer" <<'END'
source pipelines/completion/mert.bash
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
case $1 in mert-features) _mert_features ;; *) _mert ;; esac
echo "${COMPREPLY[*]}"
END
offers() { wanted=$1; shift; bash "$t/offer" "$@" > "$t/offered" && [ "$(cat "$t/offered")" = "$wanted" ] || { cat "$t/offered"; return 1; }; }
mkdir "$t/bin" && ln -s "$PWD/pipelines/features" "$t/bin/mert-features"; PATH=$t/bin:$PATH
if command -v bash > "$t/found"; then
    check "an option" offers --pool mert-encode --po
    check "options of every program, too" offers '--max-failed' mert-cqt --max
    check "choices" offers 'f32 f16 bf16' mert-encode --dtype ''
    check "choices behind an equals sign" offers fade mert-encode --join = f
    check "commands" offers 'cat check cmp' mert-tensor c
    check "options of a command" offers '--rtol' mert-tensor cmp --r
    check "a command beside options" offers apply mert-probe a
    check "options beside commands" offers '--predictions' mert-probe --labels x --pre
    check "options of such a command" offers '--span' mert-probe apply --sp
    check "commands of a program that needs none" offers 'report' mert-plot rep
    check "options of a program that has commands" offers '--layer' mert-plot --la
    check "options of its command" offers '--sound' mert-plot report --so
    check "its choices" offers 'dark light grey' mert-plot cqt.mts --colours ''
    check "files are left to bash" offers '' mert-encode som
    check "nothing for a command that there is not" offers '' mert-tensor frobnicate --
    check "the features of a folder" offers --window mert-features --wi
    all() { # each program, each of its commands: every option of its --help
        for p in "$OUT"/bin/mert-*; do
            p=${p##*/}
            for c in - $("$p" --help | sed -n '/^commands/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'); do
                if [ "$c" = - ]; then set -- "$p"; else set -- "$p" "$c"; fi
                [ $# -gt 1 ] || ! "$p" --help | grep -q ^commands || "$p" --help | grep -qx options: || continue
                { "$@" --help | sed -n 's/^  \(   \|-.,\) \(--[a-z][a-z0-9-]*\).*/\2/p'; echo --version; } | sort -u > "$t/a"
                bash "$t/offer" "$@" -- | tr ' ' '\n' | sort -u > "$t/b"
                cmp "$t/a" "$t/b" || { echo "$*"; return 1; }
            done
        done
    }
    check "all options of all programs" all
    listed() { (cd tools && ls mert-*.c) | sed 's/\.c$//' > "$t/a"; sed -n '/^complete .*_mert mert/,/[^\\]$/p' pipelines/completion/mert.bash | grep -oE 'mert-[a-z]+' | sort > "$t/b"; cmp "$t/a" "$t/b"; }
    check "all programs" listed
else
    skip "completion" "no bash"
fi

dist() {
    unset MAKEFLAGS MAKELEVEL MFLAGS
    make -s dist OUT="$t/d" 2> "$t/said" && cp "$t"/d/mert-*.tar.gz "$t/first.gz" && make -s dist OUT="$t/d" 2> "$t/said" && cmp "$t/first.gz" "$t"/d/mert-*.tar.gz &&
        gzip -dc "$t/first.gz" | tar -tf - > "$t/names" && grep -q '^mert-[0-9.]*/README.md$' "$t/names" && ! grep -vq '^mert-[0-9.]*/' "$t/names" &&
        [ "$(grep -vc '/$' "$t/names")" -eq "$(git ls-tree -r --name-only HEAD | wc -l)" ]
}
if git rev-parse HEAD > "$t/found" 2>&1; then check "make dist packs what is committed, the same each time" dist; else skip "make dist" "not a git repository"; fi
