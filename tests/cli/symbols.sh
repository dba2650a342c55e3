# Every function of a library that is not static is called from another file, and there are no unused functions. (Tests
# count as callers, because they compare readable versions with fast ones.)
. tests/shell
nm -A --defined-only "$OUT"/libmert.a "$OUT"/libmertformats.a 2> /dev/null | awk '$2 == "T" {print $3}' | grep -v _kernels_ | sort > "$TEST_TMP/shown"
find "$OUT" -name '*.o' ! -path "$OUT/asan/*" ! -path "$OUT/fuzz/*" ! -path "$OUT/lint/*" ! -path "$OUT/test-work/*" > "$TEST_TMP/objects"
find "$OUT/lib" -name '*.so' >> "$TEST_TMP/objects"
xargs nm -u < "$TEST_TMP/objects" 2> /dev/null | awk '{print $2}' | sort -u > "$TEST_TMP/used"
used_by_others() { sort -u "$TEST_TMP/shown" | comm -23 - "$TEST_TMP/used" > "$TEST_TMP/found"; cat "$TEST_TMP/found"; [ ! -s "$TEST_TMP/found" ]; }
check "no function is shown in vain" used_by_others
one_name() { uniq -d "$TEST_TMP/shown" > "$TEST_TMP/found"; cat "$TEST_TMP/found"; [ ! -s "$TEST_TMP/found" ]; }
check "no name is two functions" one_name
some() { [ "$(wc -l < "$TEST_TMP/shown")" -gt 500 ] && grep -qx mert_ops_cpu "$TEST_TMP/shown"; }
check "the libraries have been read" some
