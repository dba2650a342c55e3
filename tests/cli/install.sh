# make install puts programs, pages and pipelines under DESTDIR; make uninstall takes away just that.
. tests/shell
dest=$TEST_TMP/dest
piped() { sh -c "$*"; }
files() { (cd "$1" && find . | LC_ALL=C sort); }

# -o all: what is built is taken as it is; the flags of the make that may have called us are none of our business.
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
    test -f "$dest/usr/share/mert/pipelines/prepare.mk"
}
check programs_and_pages_are_there whole

mkdir -p "$TEST_TMP/music"
plans() { env -u MAKEFLAGS -u MAKELEVEL make -n -f "$dest/usr/share/mert/pipelines/prepare.mk" AUDIO="$TEST_TMP/music" OUT="$TEST_TMP/data" | grep -q mert-manifest; }
check prepare_works_from_there plans
knows() { (cd "$TEST_TMP" && "$1/mert-train" --print-recipe --recipe tiny | grep -q '^total_updates = '); }
check recipes_are_known_by_name knows "$dest/usr/bin"
moved() { mv "$dest/usr" "$dest/moved" && knows "$dest/moved/bin" && mv "$dest/moved" "$dest/usr"; }
check recipes_are_known_where_it_was_moved_to moved

check install_again run_make install
check uninstall run_make uninstall
nothing() { [ ! -e "$dest/usr" ] || { find "$dest"; return 1; }; }
check uninstall_leaves_nothing nothing

# What others have there stays, and so does a folder that was there before, even an empty one.
mkdir -p "$dest/usr/bin" "$dest/usr/lib/mert" "$dest/usr/share/mert/pipelines/recipes" "$dest/usr/share/man/man1"
echo mine > "$dest/usr/lib/mert/mine.so"; echo mine > "$dest/usr/share/mert/pipelines/recipes/mine"; echo ls > "$dest/usr/bin/ls"
files "$dest" > "$TEST_TMP/before"
check install_beside_others run_make install
check uninstall_beside_others run_make uninstall
as_before() { files "$dest" | diff "$TEST_TMP/before" -; }
check what_others_have_stays as_before

# LIBDIR as the system's own: nothing of it goes.
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

# Other folders than programs know by themselves: compiled in, as the way from BINDIR. A build of its own, of what is needed.
if [ -z "${MERT_SANITIZED:-}" ]; then
    mine=$TEST_TMP/build; at=$dest/elsewhere
    other() {
        env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -s OUT="$mine" PREFIX=/opt/mert BINDIR=/opt/mert/tools LIBDIR="/srv/plug ins" DATADIR=/opt/data/mert \
            DESTDIR="$at" "$@"
    }
    mkdir -p "$mine" && cp -a "$OUT/features.mk" "$OUT"/bin "$OUT"/formats "$OUT"/libcommon "$OUT"/tools "$OUT"/*.a "$mine/" && [ ! -e "$OUT/lib" ] || cp -a "$OUT/lib" "$mine/"
    # only what depends on the folders is made anew
    for f in $(find "$mine" -name '*.d'); do rm -f "$f"; done
    check build_for_other_folders other "$mine/bin/mert-train"
    check install_to_other_folders other -o all install
    check recipes_in_another_folder knows "$at/opt/mert/tools"
    plugin() {
        [ -e "$at/srv/plug ins/exchange-mpi.so" ] || return 0
        # what stands there is loaded: something that is no plugin says so
        echo none > "$at/srv/plug ins/exchange-mpi.so"
        (cd "$TEST_TMP" && env -u MERT_PLUGINS OMPI_COMM_WORLD_SIZE=2 "$at/opt/mert/tools/mert-train" --recipe tiny --manifest train.tsv --labels train.km --save refused 2>&1) | grep 'srv/plug ins/exchange-mpi.so'
    }
    check plugins_in_another_folder plugin
    check uninstall_from_other_folders other -o all uninstall
    check other_folders_leave_nothing piped "[ ! -e '$at/opt' ] && [ ! -e '$at/srv' ]"
fi
