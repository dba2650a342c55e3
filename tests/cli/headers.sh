# Every header compiles alone, and all of them together in one file, in C and C++: names are unique.
. tests/shell
find formats libcommon tools -name '*.h' ! -path '*/plugins/*' | sort > "$TEST_TMP/headers"
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -DMERT_ISA=generic -Wall -Wextra -Werror -fsyntax-only"
compiles() { # HEADER...
    for h; do printf '#include "%s"\n' "$h"; done > "$TEST_TMP/all.c"
    printf 'int main(void) { return 0; }\n' >> "$TEST_TMP/all.c"
    # shellcheck disable=SC2086 # flags, and the output of pkg-config
    ${CC:-cc} $flags -I. $(pkg-config --cflags openblas fftw3f libzstd) "$TEST_TMP/all.c"
}
each() { while read -r h; do compiles "$h" || { echo "$h does not stand alone"; return 1; }; done < "$TEST_TMP/headers"; }
check "each stands alone" each
# shellcheck disable=SC2046 # names without blanks
check "all in one file" compiles $(cat "$TEST_TMP/headers")

# All headers except those for C only.
in_cxx() {
    grep -v 'nn/cpu/rows_finish.h$' "$TEST_TMP/headers" | sed 's/.*/#include "&"/' > "$TEST_TMP/all.cc"
    # A call from a plugin in C++, and its exported function.
    cat >> "$TEST_TMP/all.cc" <<'EOF'
mert_ops *mert_device_open(int version, int number, mert_element_type type, mert_error *e) { (void)e; (void)type; return version + number ? mert_ops_cpu() : NULL; }
mert_device_plugin *const plugin = mert_device_open;
void twice(mert_ops *ops, mert_element *x, int64_t n) { mert_axpy_args a = {mert_at(ops, x, 1), x, 1, n}; ops->run(ops, MERT_OP_AXPY, &a, sizeof a); }
EOF
    # shellcheck disable=SC2046 # the output of pkg-config
    g++ -std=c++17 -D_POSIX_C_SOURCE=200809L -DMERT_ISA=generic -Wall -Wextra -Wno-missing-field-initializers -Werror -fsyntax-only \
        -I. $(pkg-config --cflags openblas fftw3f libzstd) "$TEST_TMP/all.cc"
}
if command -v g++ > /dev/null; then
    check "all in one file of C++" in_cxx
else
    skip "all in one file of C++" "no g++"
fi
