# Every header stands alone, and all of them together in one file: no name is two things.
. tests/shell
find formats libcommon tools -name '*.h' ! -path '*/plugins/*' | sort > "$TEST_TMP/headers"
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -DMERT_ISA=generic -Wall -Wextra -Werror -fsyntax-only"
compiles() { # HEADER...
    for h; do printf '#include "%s"\n' "$h"; done > "$TEST_TMP/all.c"
    printf 'int main(void) { return 0; }\n' >> "$TEST_TMP/all.c"
    # shellcheck disable=SC2086 # flags, and what pkg-config says
    ${CC:-cc} $flags -I. $(pkg-config --cflags openblas fftw3f libzstd) "$TEST_TMP/all.c"
}
each() { while read -r h; do compiles "$h" || { echo "$h does not stand alone"; return 1; }; done < "$TEST_TMP/headers"; }
check "each stands alone" each
# shellcheck disable=SC2046 # names without blanks
check "all in one file" compiles $(cat "$TEST_TMP/headers")
