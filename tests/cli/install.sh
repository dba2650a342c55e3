# make install puts programs, pages and pipelines under DESTDIR; make uninstall removes exactly these.
. tests/shell
dest=$TEST_TMP/dest
piped() { sh -c "$*"; }
files() { (cd "$1" && find . | LC_ALL=C sort); }

# -o all: uses the existing build; the flags of a make that called this test are not used.
run_make() { env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -o all OUT="$OUT" DESTDIR="$dest" PREFIX=/usr "$@"; }
check install run_make install

whole() {
    for f in tools/mert-*.c; do
        f=$(basename "$f" .c)
        "$dest/usr/bin/$f" --version | grep -q "^$f " || { echo "$f does not run from where it was installed"; return 1; }
    done
    for f in man/*.[157]; do
        cmp "$f" "$dest/usr/share/man/man${f##*.}/$(basename "$f")" || return 1
    done
    test -f "$dest/usr/share/mert/pipelines/prepare.mk" && test -f "$dest/usr/share/mert/man/course/01-samples.md" &&
        test -f "$dest/usr/share/mert/man/model.md" && cmp LICENSE "$dest/usr/share/mert/LICENSE"
}
check programs_and_pages_are_there whole

# Pipelines that are commands: each finds the files beside its script, not beside the link.
features() { (cd / && PATH="$dest/usr/bin:$PATH" mert-features --help | grep -q 'MODEL FOLDER OUT'); }
check mert_features_runs_from_there features
prepare() { (cd / && PATH="$dest/usr/bin:$PATH" mert-prepare --help | grep -q '^    LAYER  *6 '); }
check mert_prepare_runs_from_there prepare
pipeline_train() { (cd / && PATH="$dest/usr/bin:$PATH" && mert-pipeline-train --help | grep -q 'RECIPE DATA' && ! mert-pipeline-train none "$TEST_TMP/none" 2> "$TEST_TMP/said" && grep -q 'there are .* tiny' "$TEST_TMP/said"); }
check mert_pipeline_train_runs_from_there pipeline_train

called() { # the help has the name that was typed
    for c in mert-prepare=prepare mert-pipeline-train=train; do
        "$dest/usr/bin/${c%=*}" --help > "$TEST_TMP/help" && grep -q "^    .*${c%=*} " "$TEST_TMP/help" && ! grep "pipelines/${c#*=} " "$TEST_TMP/help" &&
            "pipelines/${c#*=}" --help | grep -q "^    .*pipelines/${c#*=} " || { echo "${c%=*}"; return 1; }
    done
}
check help_has_the_name_of_the_command called

composes() { # as man/course says
    ${CC:-cc} -I"$dest/usr/share/mert" -o "$TEST_TMP/score" "$dest/usr/share/mert"/pipelines/demo/*.c -lm &&
        "$TEST_TMP/score" --seed 1 --minutes 1 --out "$TEST_TMP" && [ -x "$dest/usr/share/mert/pipelines/demo/render" ]
}
check the_course_can_be_followed_from_there composes

mkdir -p "$TEST_TMP/music"
plans() { env -u MAKEFLAGS -u MAKELEVEL "$dest/usr/bin/mert-prepare" -n AUDIO="$TEST_TMP/music" OUT="$TEST_TMP/data" | grep -q mert-manifest; }
check prepare_works_from_there plans
knows() { (cd "$TEST_TMP" && "$1/mert-train" --print-recipe --recipe tiny | grep -q '^total_updates = '); }
check recipes_are_known_by_name knows "$dest/usr/bin"
moved() { mv "$dest/usr" "$dest/moved" && knows "$dest/moved/bin" && mv "$dest/moved" "$dest/usr"; }
check recipes_are_known_where_it_was_moved_to moved

# The stream library, used by a program outside the tree with pkg-config.
example() {
    alone=$TEST_TMP/alone
    run_make DESTDIR='' PREFIX="$alone" install || return
    export PKG_CONFIG_PATH="$alone/lib/pkgconfig"
    [ "$(pkg-config --modversion mts)" = "$(sed -n 's/^VERSION = //p' config.mk)" ] || { echo "another version"; return 1; }
    sanitized=$(grep -q asan_init "$OUT/libmts.a" && echo "-fsanitize=address,undefined")
    # shellcheck disable=SC2046 # flags
    (cd "$TEST_TMP" && ${CC:-cc} $sanitized -o gain "$alone/share/mert/stream/gain.c" $(pkg-config --cflags --libs mts)) || return
    "$TEST_TMP/gain" 2 < formats/stream/valid/pcm.mts | "$OUT/bin/mert-tensor" check -q && test -f "$alone/share/mert/stream/SPECIFICATION.md" &&
        run_make DESTDIR='' PREFIX="$alone" uninstall && [ ! -e "$alone" ]
}
check the_stream_library_by_pkg_config example

check install_again run_make install
mkdir -p "$dest/usr/share/mert/stream/__pycache__" && : > "$dest/usr/share/mert/stream/__pycache__/mts.cpython-313.pyc" # by python3 -c 'import mts'
check uninstall run_make uninstall
nothing() { [ ! -e "$dest/usr" ] || { find "$dest"; return 1; }; }
check uninstall_leaves_nothing nothing

# Files of others stay, and so do folders that existed before, even empty ones.
mkdir -p "$dest/usr/bin" "$dest/usr/lib/mert" "$dest/usr/share/mert/pipelines/recipes" "$dest/usr/share/man/man1"
echo mine > "$dest/usr/lib/mert/mine.so"; echo mine > "$dest/usr/share/mert/pipelines/recipes/mine"; echo ls > "$dest/usr/bin/ls"
files "$dest" > "$TEST_TMP/before"
check install_beside_others run_make install
check uninstall_beside_others run_make uninstall
as_before() { files "$dest" | diff "$TEST_TMP/before" -; }
check what_others_have_stays as_before

# LIBDIR is the system's folder: nothing else in it is removed.
mkdir -p "$dest/usr/lib"; echo libc > "$dest/usr/lib/libc.so"
files "$dest" > "$TEST_TMP/before"
shared() { run_make LIBDIR=/usr/lib DATADIR=/usr/share "$@"; }
check install_into_shared_folders shared install
check uninstall_from_shared_folders shared uninstall
check shared_folders_stay as_before

# A blank and a quote in PREFIX.
odd() { PREFIX="/opt/a user's mert" && run_make PREFIX="$PREFIX" "$@"; }
check install_with_a_blank odd install
check recipes_beside_a_blank knows "$dest/opt/a user's mert/bin"
check uninstall_with_a_blank odd uninstall
check blanks_leave_nothing piped "[ ! -e '$dest/opt' ]"

# Other odd names: install and uninstall work; a file of others stays. Relative names are below the working directory,
# which is the tree.
there_and_back() { # WHERE-THE-PROGRAMS-COME-TO-BE MAKE-WORD...
    bin=$1; shift
    put() { env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -o all OUT="$OUT" TOOLS="mert-train mert-tensor" "$@"; }
    put install "$@" && knows "$bin" && echo mine > "$bin/mine" && put uninstall "$@" || return
    rest=$(find -H "${bin%/bin}" ! -type d)
    [ "$rest" = "$bin/mine" ] || { echo "$rest"; return 1; }
    rm -r "$bin"
}
o=$TEST_TMP/odd; mkdir -p "$o/real"; ln -s real "$o/link"
shell='a $b `c` "d" ;e &f #g %h *'
in_make() { printf %s "$1" | sed 's/[$]/&&/g'; } # as a word of make's command line is to be written
check "what a shell would take apart" there_and_back "$o/$shell/usr/$shell/bin" "DESTDIR=$o/$(in_make "$shell")" "PREFIX=/usr/$(in_make "$shell")"
check "slashes at the end" there_and_back "$o/slashes/usr/bin" DESTDIR="$o/slashes//" PREFIX=/usr/
check "the root below a DESTDIR" there_and_back "$o/root/bin" DESTDIR="$o/root" PREFIX=/
check "a PREFIX of nothing" there_and_back "$o/none/bin" DESTDIR="$o/none" PREFIX=
check "a PREFIX behind a link" there_and_back "$o/link/bin" DESTDIR= PREFIX="$o/link"
relative=$(realpath -s --relative-to=. "$o")
check "a relative PREFIX" there_and_back "$o/rel/bin" DESTDIR= PREFIX="$relative/rel"
check "a relative DESTDIR" there_and_back "$o/dest/usr/bin" DESTDIR="$relative/dest" PREFIX=/usr
dash() { ( mkdir -p "$o/tree" && cd "$o/tree" && ln -sf "$top/LICENSE" "$top/formats" "$top/man" "$top/pipelines" . && DESTDIR='' PLUGINS='' MAN='' BINDIR=-p/bin LIBDIR=-p/lib MANDIR=-p/man DATADIR=-p/share INCLUDEDIR=-p/include ARCHIVEDIR=-p/lib COMPDIR=-p/comp ZSHDIR=-p/zsh VERSION=0 TOOLS=mert-tensor OUT="$OUT" sh "$top/install.sh" "$1" ) }
top=$PWD
dashes() { dash install && "$o/tree/-p/bin/mert-tensor" --version && dash uninstall && [ "$(ls -A "$o/tree" | tr "\n" " ")" = "LICENSE formats man pipelines " ] || { find "$o/tree"; return 1; }; }
check "a dash in front" dashes
refused() { env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s -o all OUT="$OUT" "$@" 2> "$TEST_TMP/said"; rc=$?; grep -v '^make' "$TEST_TMP/said" >&2; return $rc; }
check_fails "a relative PREFIX below a DESTDIR" 2 '^install: BINDIR=usr/bin: below a DESTDIR it begins with a slash$' refused install DESTDIR="$o/sub" PREFIX=usr
check_fails "nor is it looked for" 2 '^uninstall: BINDIR=usr/bin: below a DESTDIR' refused uninstall DESTDIR="$o/sub" PREFIX=usr
mkdir -p "$o/far/away/bin"; ln -s far/away/bin "$o/bin"
check_fails "a link away from the data" 2 "^install: LIBDIR=$o/lib/mert: programs in $o/bin, which a link leads to, would look for it in $o/far/away/lib/mert: name BINDIR" \
    refused install DESTDIR= PREFIX="$o"
none_made() { [ -z "$(ls -A "$o/far/away/bin")" ] && [ ! -e "$o/sub" ] && [ ! -e "$o/subusr" ] && [ ! -e "$o/lib" ]; }
check "and nothing was made" none_made

# Folders other than the defaults are compiled in, relative to BINDIR. This makes a separate build of the parts that are
# needed.
if [ -z "${MERT_SANITIZED:-}" ]; then
    mine=$TEST_TMP/build; at=$dest/elsewhere
    other() {
        env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s OUT="$mine" PREFIX=/opt/mert BINDIR=/opt/mert/tools LIBDIR="/srv/plug ins" DATADIR=/opt/data/mert \
            DESTDIR="$at" "$@"
    }
    mkdir -p "$mine" && cp -a "$OUT/features.mk" "$OUT"/bin "$OUT"/formats "$OUT"/libcommon "$OUT"/tools "$OUT"/*.a "$mine/" && [ ! -e "$OUT/lib" ] || cp -a "$OUT/lib" "$mine/"
    # only files that depend on the folders are compiled again
    for f in $(find "$mine" -name '*.d'); do rm -f "$f"; done
    check build_for_other_folders other "$mine/bin/mert-train"
    check install_to_other_folders other -o all install
    check recipes_in_another_folder knows "$at/opt/mert/tools"
    plugin() {
        [ -e "$at/srv/plug ins/exchange-mpi.so" ] || return 0
        # the plugin there is loaded; this file is not a plugin, which is the error
        echo none > "$at/srv/plug ins/exchange-mpi.so"
        (cd "$TEST_TMP" && env -u MERT_PLUGINS OMPI_COMM_WORLD_SIZE=2 "$at/opt/mert/tools/mert-train" --recipe tiny --manifest train.tsv --labels train.km --save refused 2>&1) | grep 'srv/plug ins/exchange-mpi.so'
    }
    check plugins_in_another_folder plugin
    check uninstall_from_other_folders other -o all uninstall
    check other_folders_leave_nothing piped "[ ! -e '$at/opt' ] && [ ! -e '$at/srv' ]"
fi
