# The Makefile: what it compiles again, what it prints, and what it leaves out without FFmpeg or cairo. Only one small
# file is compiled here; the rest is tested by `make -n`.
. tests/shell
unset MAKEFLAGS MAKELEVEL MFLAGS
dir=$TEST_TMP/all
dry() { make -n DEPS=skip OUT="$dir" "$@" all > "$TEST_TMP/said" 2>&1 || { cat "$TEST_TMP/said"; return 1; }; }
says() { grep -q -- "$1" "$TEST_TMP/said"; }

whole() { dry && says 'libcommon/audio/decode.c' && says 'bin/mert-decode' && says 'bin/mert-plot' && ! says 'without FFmpeg' && ! says 'without cairo'; }
check "everything" whole

# A pkg-config without some packages.
mkdir "$TEST_TMP/bin"
lacking() {
    cat > "$TEST_TMP/bin/pkg-config" <<END
#!/bin/sh
case "\$*" in $1) exit 1 ;; esac
exec $pkg_config "\$@"
END
    chmod +x "$TEST_TMP/bin/pkg-config"
}
pkg_config=$(command -v pkg-config)
without() {
    dir=$TEST_TMP/without
    lacking '*libav*|*libsw*'
    PATH=$TEST_TMP/bin:$PATH dry && says 'without FFmpeg' && says 'mert-decode and mert-manifest are left out' && says 'bin/mert-encode' &&
        ! says 'bin/mert-decode' && ! says 'bin/mert-manifest' && ! says 'libcommon/audio' && ! says '-lavcodec'
}
check "without FFmpeg the rest is built" without
no_pictures() {
    dir=$TEST_TMP/no-pictures
    lacking '*cairo*'
    PATH=$TEST_TMP/bin:$PATH dry && says 'without cairo: mert-plot is left out' && ! says 'bin/mert-plot' && says 'bin/mert-decode' && ! says 'libcommon/plot' && ! says '-lcairo' &&
        PATH=$TEST_TMP/bin:$PATH make -n DEPS=skip OUT="$dir" tests > "$TEST_TMP/said" 2>&1 && ! says 'tests/picture' && ! says 'unit/plot'
}
check "without cairo the rest is built" no_pictures

folder() { OUT=$dir make help > "$TEST_TMP/said" && says 'into build/bin;' && make help OUT="$dir" > "$TEST_TMP/said" && says "into $dir/bin;"; }
check "OUT as an argument is the folder, in the environment it is not" folder
made() { make -s DEPS=skip OUT="$dir" "$@" "$dir/formats/error.o" > "$TEST_TMP/said" 2>&1 || { cat "$TEST_TMP/said"; return 1; }; }
flags() {
    dir=$TEST_TMP/flags
    made CFLAGS=-O1 && touch -r "$dir/formats/error.o" "$dir/mark" && made CFLAGS=-O1 || return 1
    [ ! "$dir/formats/error.o" -nt "$dir/mark" ] || { echo "compiled again without a reason"; return 1; }
    made CFLAGS='-O1 -g' && [ "$dir/formats/error.o" -nt "$dir/mark" ] || { echo "other flags: not compiled again"; return 1; }
}
check "other flags compile again, the same do not" flags
quiet() {
    dir=$TEST_TMP/quiet
    make DEPS=skip OUT="$dir" "$dir/formats/error.o" > "$TEST_TMP/said" 2>&1 && says '^CC      formats/error.c$' && ! says '-Wall' &&
        rm "$dir/formats/error.o" && make V=1 DEPS=skip OUT="$dir" "$dir/formats/error.o" > "$TEST_TMP/said" 2>&1 && says '-Wall'
}
check "one line for a file, V=1 the whole command" quiet
