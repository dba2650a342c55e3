# formats/stream/python/mts.py against the library in C: what one writes the other reads, every fault is noticed, memory is bounded.
# PYTHON: another interpreter than python3.
. tests/shell
t=$TEST_TMP
valid=formats/stream/valid invalid=formats/stream/invalid
python=${PYTHON:-python3}
py() { PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=formats/stream/python "$python" "$@"; }
if ! py -c 'import numpy, zstandard' 2> "$t/said"; then
    skip "streams in Python" "no $python with numpy and zstandard"
    exit
fi
small() { [ "$(wc -l < formats/stream/python/mts.py)" -le 150 ] && [ -z "$(awk 'length > 120' formats/stream/python/mts.py)" ]; }
check "one small file" small

cat > "$t/copies.py" <<'END'
import sys, mts
out, w, begin = open(sys.argv[2], "wb"), None, None
for r in mts.read(sys.argv[1]):
    if begin is not r.begin: # cat of streams is a stream
        if w: w.__exit__(None)
        begin, b = r.begin, r.begin
        w = mts.Writer(out, b["via"], int(b["manifest"], 16), (int(b["first"]), int(b["end"])), int(b["total"]))
    x = r.chunks()
    if r.kind is None: w.fail(r.key, *r.failed, r.row)
    elif r.shape[0] < 1: # of a length that is not known, or none: nothing says the type of what does not come
        try: x = r.array(); w.write(r.key, x, r.kind, r.row, r.sample_rate, r.frame_rate, r.classes, r.model)
        except mts.Failed as e: w.fail(r.key, *e.args, r.row)
    else: w.write(r.key, x, r.kind, r.row, r.sample_rate, r.frame_rate, r.classes, r.model)
if w: w.__exit__(None)
END
records() { mert-tensor ls -l --max-failed 100% "$1" 2> "$t/said" | sed 's:\tbf16\t\[:\tf32\t[:'; } # bf16 comes as float32
payload() { mert-tensor text --max-failed 100% --no-heads "$1" 2> "$t/said"; }
copies() {
    for f in $valid/*.mts; do
        case $f in */no-records.mts) continue ;; esac
        py "$t/copies.py" "$f" "$t/copy.mts" || { echo "$f"; return 1; }
        mert-tensor check --max-failed 100% "$t/copy.mts" 2> "$t/said" && zstd -tq "$t/copy.mts" || { echo "$f"; cat "$t/said"; return 1; }
        records "$f" | sed 's/, input .*//' > "$t/a"; records "$t/copy.mts" | sed 's/, input .*//' | diff "$t/a" - || { echo "$f"; return 1; }
        payload "$f" > "$t/a"; payload "$t/copy.mts" | cmp - "$t/a" || { echo "$f"; return 1; }
    done
}
check "what Python copies of the valid samples, C reads as the same" copies
cat > "$t/faults.py" <<'END'
import sys, mts
for name in sys.argv[1:]:
    try:
        for r in mts.read(name):
            try: r.array()
            except mts.Failed: pass
    except mts.Error as e: print(name, e)
    else: sys.exit(name + ": nothing was noticed")
END
check "every fault of the invalid samples is noticed" py "$t/faults.py" $invalid/*.mts
cat > "$t/forged.py" <<'END'
# Headers with valid checksums and other fields: read, or refused with mts.Error.
import io, struct, sys, mts
frames, b, at, n = [], open(sys.argv[1], "rb").read(), 0, 0
while at < len(b):
    end = at + 8 + struct.unpack("<I", b[at + 4:at + 8])[0] if b[at:at + 4] == mts.MAGIC else b.index(mts.MAGIC, at + 1)
    frames.append(b[at:end]); at = end
for i, whole in enumerate(frames):
    lines = whole[8:-23].split(b"\n") if whole[:4] == mts.MAGIC else []
    for k, line in enumerate(lines):
        name = line.partition(b"=")[0] + b"="
        for new in [name + x for x in (b"", b"-1", b"-2", b"x", b"1,2", b"%", b"%zz", b"\xff", b"9" * 30)] + [b"word", b""]:
            text = b"\n".join(lines[:k] + [new] + lines[k + 1:])
            text += b"xxh64=%s\n" % mts.xxh64(text).encode()
            head = mts.MAGIC + struct.pack("<I", len(text)) + text
            try:
                for r in mts.read(io.BytesIO(b"".join(frames[:i] + [head] + frames[i + 1:]))):
                    try: r.array()
                    except mts.Failed: pass
            except mts.Error: n += 1
print(n, "refused")
sys.exit(n < 100)
END
forged() { for f in codes failed-items; do py "$t/forged.py" $valid/$f.mts || return; done; }
check "forged headers are refused by mts.Error alone" forged
cat > "$t/packed.py" <<'END'
# Chunks with valid checksums whose data are no zstd frame, another one, or cut short.
import io, struct, sys, numpy as np, mts, zstandard
def stream(pack):
    out = io.BytesIO()
    with mts.Writer(out, []) as w:
        w.pack = pack
        w.write("a", np.arange(100, dtype="f4").reshape(50, 2), "mel")
    return io.BytesIO(out.getvalue())
good = zstandard.ZstdCompressor(write_checksum=True).compress
assert [r.array().shape for r in mts.read(stream(good))] == [(50, 2)]
for bad in (lambda x: b"no frame", lambda x: good(x)[:-5], lambda x: good(x) + b"x", lambda x: good(x + x), lambda x: good(x[:-8]),
            lambda x: good(b""), lambda x: zstandard.ZstdCompressor(write_content_size=False).compress(x), lambda x: b"x" + good(x)[1:]):
    for read in (lambda r: r.array(), lambda r: None):
        try:
            for r in mts.read(stream(bad)): read(r)
        except mts.Error as e: print(e)
        else: raise SystemExit("was read")
out = io.BytesIO()
with mts.Writer(out, []) as w: w.write("a", np.zeros((0, 3), "f4"), "mel")
text = out.getvalue()
for r in mts.read(io.BytesIO(text)): assert r.array().shape == (0, 3) and r.array().dtype == np.float32
r.dtype = "bf16"
assert r.array().dtype == np.float32
END
check "chunks that are no zstd frame of their size are refused by mts.Error alone" py "$t/packed.py"
passed_over() { sed 's/try: r.array()/if 1: pass/; s/except mts.Failed: pass//' "$t/faults.py" > "$t/over.py" && py "$t/over.py" $invalid/*.mts; }
check "even where items are passed over" passed_over

cat > "$t/values.py" <<'END'
import sys, numpy as np, mts
a = np.load(sys.argv[1])
for r in mts.read(sys.stdin.buffer):
    x = r.array()
    assert x.dtype == a.dtype and np.array_equal(x, a) and r.shape == a.shape, (r.key, x.shape)
    assert (r.key, r.kind, r.sample_rate, r.frame_rate) == ("Björk/ä", "mfcc", 24000, (24000, 240)), r.key
END
features=$golden/kmeans/features.npy
values() { mert-tensor from-npy --kind mfcc --rate 24000 --frame-rate 24000/240 --key 'Björk/ä' "$features" | py "$t/values.py" "$features"; }
check "values out of a pipe" values
cat > "$t/write.py" <<'END'
import sys, numpy as np, mts
a = np.load(sys.argv[1])
def parts(stop=None):
    at = 0
    while at < len(a):
        n = 1 + at % 911
        yield a[at:at + n]
        at += n
        if stop and at > stop: raise mts.Failed("test", "half of it")
with mts.Writer(sys.stdout.buffer, ["test 1.0"]) as w:
    w.write("a", parts(), "mfcc", 0, 24000, (24000, 240), model=0xfeedbeef01234567)
    if len(sys.argv) > 2:
        w.write("half", parts(len(a) // 2), "mfcc", 1)
        w.fail("none", "test", "nothing of it", 2)
        w.write("codes", np.array([[1, 2], [3, 4]], "u2"), "codes", 3, classes=(10, 20))
    if len(sys.argv) > 3: raise SystemExit(sys.argv[3])
END
writes() { py "$t/write.py" "$features" > "$t/w.mts" && mert-tensor check "$t/w.mts" && mert-tensor to-npy -o "$t/w.npy" "$t/w.mts" && cmp "$features" "$t/w.npy" && mert-tensor ls -l "$t/w.mts" | grep -q 'model=feedbeef01234567'; }
check "values into a pipe, in parts" writes
fails() {
    py "$t/write.py" "$features" more > "$t/w.mts"; mert-tensor ls "$t/w.mts" 2> "$t/said" > "$t/ls"
    [ $? -eq 1 ] && [ "$(cut -f 1-4 "$t/ls" | tr '\t\n' ' ;')" = '0 a mfcc f32;1 half failed test: half of it;2 none failed test: nothing of it;3 codes codes u16;' ]
}
check "items that fail are passed on" fails
check_fails "after an error there is no end, and the next program says so" 1 'stops without an end record' sh -c "PYTHONPATH=formats/stream/python $python -B $t/write.py $features more stops 2> $t/said | mert-tensor cat --max-failed 9 > $t/x.mts"
cat > "$t/refuses.py" <<'END'
import io, numpy as np, mts
a = np.zeros((3, 2), "f4")
w = mts.Writer(io.BytesIO(), [], rows=(0, 2), total=2)
for bad in (dict(kind="Mel"), dict(kind="mel", x=a.astype("f8")), dict(kind="codes", x=a.astype("u2")), dict(kind="mel", classes=(3,)), dict(kind="mel", row=2),
            dict(kind="mel", key="k" * 1024), dict(kind="mel", x=[]), dict(kind="mel", x=[a, a[:, :1]]), dict(kind="mel", x=np.zeros((1, 1 << 23), "f4")), dict(kind="mel", x=np.zeros((1, 0), "f4"))):
    try: w.write(**{"key": "a", "x": a, **bad})
    except mts.Error as e: print(e)
    else: raise SystemExit(f"{bad} was written")
END
check "what cannot be is not written" py "$t/refuses.py"
cat > "$t/memory.py" <<'END'
import os, threading, tracemalloc, numpy as np, mts
r, w = os.pipe()
def write():
    with os.fdopen(w, "wb") as f, mts.Writer(f, []) as out: out.write("long", (np.full((4096, 64), i, "i2") for i in range(8)), "mel")
threading.Thread(target=write).start() # 4 MiB, half a MiB at a time
tracemalloc.start()
with os.fdopen(r, "rb") as f:
    for x in mts.read(f): n = sum(len(part) for part in x.chunks())
assert n == 8 * 4096 and tracemalloc.get_traced_memory()[1] < 3.5e6, tracemalloc.get_traced_memory()
END
check "a long record through a pipe, in little memory" py "$t/memory.py"
both() { py -c 'import sys; sys.modules["xxhash"] = None; import mts, random
plain = mts.Hash; del sys.modules["xxhash"], sys.modules["mts"]; import mts
for n in [*range(100), 1000]:
    d = random.Random(n).randbytes(n); a, b = plain(), mts.Hash()
    for x in d[:n // 3], d[n // 3:n // 2], d[n // 2:]: a.update(x); b.update(x)
    assert a.intdigest() == b.intdigest(), n'; }
if py -c 'import xxhash' 2> "$t/said"; then check "the checksum in Python is that of xxhash" both; else skip "the checksum in Python is that of xxhash" "no module xxhash"; fi

# The examples of the manual page.
sed -n '/^\.\\" half.py begins/,/^\.\\" half.py ends/p' man/mert-stream.5 | sed '/^\./d' > "$t/half.py"
half() {
    wavs "$t/loud" 0 2 && find "$t/loud" -type f -exec mert-decode {} + > "$t/loud.mts" && py "$t/half.py" < "$t/loud.mts" > "$t/half.mts" || return
    records "$t/loud.mts" | grep -v '^#' > "$t/a"; records "$t/half.mts" | grep -v '^#' | diff "$t/a" - || return
    payload "$t/loud.mts" > "$t/a"; payload "$t/half.mts" | paste "$t/a" - |
        awk '{ d = 2 * $2 - $1; if (d * d > 1e-10 * $1 * $1) exit bad = 1; if ($1 != 0) n++ } END { exit bad || n < 1000 }'
}
check "the filter of the manual page" half
sed -n '/^\.\\" dataset.py begins/,/^\.\\" dataset.py ends/p' man/mert-stream.5 | sed '/^\./d; s/\\e/\\/g' > "$t/dataset.py"
dataset() {
    wavs "$t/music" 0 6 && mert-manifest -q --out "$t/d" --valid-percent 0 "$t/music" && mert-decode --dtype i16 --manifest "$t/d/train.tsv" > "$t/d/train.mts" &&
        mert-mel --mfcc "$t/d/train.mts" > "$t/d/mfcc.mts" && mert-kmeans train -q -k 4 -o "$t/d/km" "$t/d/mfcc.mts" && mert-kmeans assign -q -m "$t/d/km" --labels "$t/d/train.km" "$t/d/mfcc.mts" > "$t/d/codes.mts" || return
    cat "$t/dataset.py" - > "$t/uses.py" <<END
pieces = list(Pieces("$t/d/train.mts", "$t/d/train.km"))
assert len(pieces) == 6 and all(x.dtype == torch.float32 and y.dtype == torch.int64 and abs(len(x) / 240 - len(y)) < 4 for x, y in pieces)
for i, line in enumerate(open("$t/d/train.km")): assert pieces[i][1].tolist() == [int(k) for k in line.split()]
END
    py "$t/uses.py"
}
if py -c 'import torch' 2> "$t/said"; then check "the data set of the manual page" dataset; else skip "the data set of the manual page" "no torch"; fi
