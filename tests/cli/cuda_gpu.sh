# tests/cuda/gpu, which a machine with a GPU runs: rehearsed on the emulated device, on a machine without one, and from its kit.
. tests/shell
t=$TEST_TMP
gpu() { MERT_GOLDEN=$golden sh tests/cuda/gpu "$@"; }
status() { awk -v name="$1" 'index($0, name "  ") == 1 {print $(split(name, parts, " ") + 1); exit}' "$t/said"; }

if [ ! -f "$OUT/lib/mert/device-emulated.so" ]; then
    skip "a rehearsal on the emulated device" "no C++17 compiler built it"
else
    rehearsal() { gpu --device emulated --keep "$t/logs" > "$t/said" 2>&1 || { cat "$t/said"; return 1; }; }
    check "a rehearsal on the emulated device: every step" rehearsal
    steps() { # all of them, and again in the table; none but the sanitizer's is left out
        for s in versions upload 'operations, bf16' 'rows alone, fp16' 'unit tests' 'parity, fp16 with overflow' 'golden encoding' 'items together' 'EnCodec codes' 'several processes, full shards' \
            'small bf16, 64 x 5 s' 'encoding, 1 of 5 min' 'EnCodec, 64 of 30 s'; do [ "$(status "$s")" = ok ] || { echo "$s: $(status "$s")"; return 1; }; done
        [ "$(grep -c ' skipped ' "$t/said")" -eq 8 ] && grep -q '^== table: emulated:0 ' "$t/said" && grep -q ' GEMM .* times ' "$t/said" && tail -n 1 "$t/said" | grep -qx '0 failed' && [ -s "$t/logs/table" ]
    }
    check "all of them are in the table" steps
    broken() { # a device that fails: its steps do, the others run
        EMU_FAIL=3 gpu --device emulated --seconds 40 > "$t/said" 2>&1; [ $? -eq 1 ] || return
        [ "$(status versions)" = ok ] && [ "$(status 'operations, fp32')" = FAILED ] && [ "$(status 'parity, bf16')" = FAILED ] && grep -q 'illegal memory access' "$t/said" && tail -n 1 "$t/said" | grep -q '^[1-9][0-9]* failed$'
    }
    check "a device that fails stops nothing" broken
    late() { gpu --device emulated --seconds 0 > "$t/said" 2>&1 && [ "$(grep -c ' no time ' "$t/said")" -gt 40 ]; }
    check "no time is left: no step begins" late
fi
if [ -e /dev/nvidiactl ]; then
    skip "a machine without a GPU" "this one may have one"
else
    without() { gpu > "$t/said" 2>&1 && [ "$(wc -l < "$t/said")" -eq 1 ] && grep -q "^gpu: skipped: device 'cuda': \|^gpu: skipped: no device 'cuda': " "$t/said"; }
    check "a machine without a GPU: one line" without
fi
check_fails "an option that it does not have" 2 'gpu: --fast: there are' sh tests/cuda/gpu --fast now

kit() { # a small one, of programs that are there: it stands alone
    OUT=$OUT sh tests/cuda/pack "$t/gpu-kit" "$OUT/bin/mert-encode" "$OUT/bin/mert-tensor" "$OUT/tests/hidden-near" "$OUT/tests/device-check" > "$t/packed" 2>&1 || { cat "$t/packed"; return 1; }
    mkdir "$t/elsewhere" && tar -C "$t/elsewhere" -xzf "$t/gpu-kit.tar.gz" && cd "$t/elsewhere" || return
    env -u OUT -u MERT_PLUGINS PATH=/usr/bin:/bin sh gpu-kit/gpu > "$t/said" 2>&1 || [ -e /dev/nvidiactl ]
    rc=$?; cd - > /dev/null; cat "$t/said"
    [ $rc -eq 0 ] && [ -f "$t/elsewhere/gpu-kit/lib/libopenblas.so.0" ] && grep -q '^gpu: skipped: \|^versions ' "$t/said"
}
check "the kit runs in another place" kit
