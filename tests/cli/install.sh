# make install puts programs, pages and pipelines under DESTDIR; make uninstall leaves nothing.
. tests/shell
dest=$TEST_TMP/dest

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

check uninstall run_make uninstall
nothing() { find "$dest" ! -type d | sed 's/^/left: /'; [ -z "$(find "$dest" ! -type d)" ] && [ ! -e "$dest/usr/share/mert" ]; }
check uninstall_leaves_nothing nothing
