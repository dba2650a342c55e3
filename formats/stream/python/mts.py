"""Streams of mert (.mts, SPECIFICATION.md), read and written a chunk at a time. Needs numpy and zstandard.
    for r in mts.read("song.mts"):              # or a binary file, such as sys.stdin.buffer
        print(r.key, r.kind, r.array().shape)   # or: for x in r.chunks(): ..., which holds one chunk at a time
    with mts.Writer(sys.stdout.buffer, ["mytool 1.0 gain=2"]) as w: # x: an array, or arrays [t, ...] in turn
        w.write("song.mp3", x, "mel", sample_rate=24000, frame_rate=(24000, 320))"""
import contextlib, functools, math, re, struct, urllib.parse, zstandard, numpy as np
TYPES = {"f32": "<f4", "f16": "<f2", "i16": "<i2", "u16": "<u2", "i32": "<i4", "bf16": "<u2"} # bf16 comes as float32
FIELDS = {"begin": "manifest first end total", "record": "record row key kind dtype shape sample_rate frame_rate model",
          "chunk": "record row chunk frames raw size data", "done": "record row key frames chunks payload",
          "failed": "record row key stage reason copy", "end": "records chunks failed"}
MAGIC, MASK, P1, P2 = b"\x54\x2a\x4d\x18", (1 << 64) - 1, 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
P3, P4, P5 = 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
class Error(Exception): "The stream is not as the specification has it, or would not be. Reading stops at the first."
class Failed(Exception): "The item failed: program and reason. array() and chunks() raise it, write() passes it on."
def turn(x, n): return (x << n | x >> 64 - n) & MASK
def mix(x, v=0): return turn(v + x * P2 & MASK, 31) * P1 & MASK
class Hash: # XXH64 (Collet), where the module xxhash, which is faster, is not installed
    v, left, n = (P1 + P2, P2, 0, -P1), b"", 0
    def update(self, data):
        data, self.n = self.left + data, self.n + len(data)
        for lanes in struct.iter_unpack("<4Q", data[:len(data) & -32]): self.v = tuple(map(mix, lanes, self.v))
        self.left = data[len(data) & -32:]
    def intdigest(self):
        d, v = self.left, self.v if self.n >= 32 else ()
        h = sum(map(turn, v, (1, 7, 12, 18))) if v else P5
        h = functools.reduce(lambda h, x: (h ^ mix(x)) * P1 + P4, v, h) + self.n & MASK
        for x, in struct.iter_unpack("<Q", d[:len(d) & -8]): h = turn(h ^ mix(x), 27) * P1 + P4 & MASK
        for x, in struct.iter_unpack("<I", d[len(d) & -8:len(d) & -4]): h = turn(h ^ x * P1 & MASK, 23) * P2 + P3 & MASK
        for x in d[len(d) & -4:]: h = turn(h ^ x * P5 & MASK, 11) * P1 & MASK
        for n, p in (33, P2), (29, P3), (32, 1): h = (h ^ h >> n) * p & MASK
        return h
with contextlib.suppress(ImportError): from xxhash import xxh64 as Hash
def xxh64(data): h = Hash(); h.update(data); return "%016x" % h.intdigest()
def check(good, why):
    if not good: raise Error(why)
    return good
def fit(form, text): return check(re.fullmatch(form, text), f"not as it must be: {text}")[0]
def numbers(x, n="+"): return tuple(map(int, re.findall("[0-9-]+", fit("((-1|[0-9]{1,18})[,/])" + n, x + ","))))
def number(text): return numbers(text, "{1}")[0]
def escape(x): return re.sub("[^ -$&-~]", lambda m: urllib.parse.quote(m[0], errors="surrogateescape"), str(x))
def plain(text): return urllib.parse.unquote(fit("([^%]|%[0-9A-F]{2})*", text), errors="surrogateescape")

class Record: # key, row; begin: the fields of the stream's begin frame; failed: None or (program, reason)
    kind = dtype = shape = sample_rate = frame_rate = classes = model = failed = None # those of FIELDS["record"]
    def __init__(self, begin, kind, f, frame=None, data=None):
        self.begin, self.frame, self.data, self.n, self.frames, self.payload = begin, frame, data, 0, 0, Hash()
        self.key, self.row, self.no, self.open = plain(f["key"]), number(f["row"]), f.get("record"), kind == "record"
        first, end = number(begin["first"]), number(begin["end"])
        check(min(self.row, first) < 0 or first <= self.row < end, f"{self.key}: row {self.row} is not the stream's")
        if not self.open: return self.fail(f)
        self.kind, self.dtype = fit("[a-z0-9_-]{1,31}", f["kind"]), fit("|".join(TYPES), f["dtype"])
        self.model, self.sample_rate = int(fit("[0-9a-f]{16}", f["model"]), 16), number(f["sample_rate"])
        self.shape, self.frame_rate = numbers(f["shape"], "{1,4}"), numbers(f["frame_rate"], "{2}")
        self.classes = numbers(f["classes"]) if "classes" in f else ()
        axes, codes, self.step = self.shape[1:], self.classes, math.prod(self.shape[1:]) * int(TYPES[self.dtype][2])
        check(self.shape[0] <= 1 << 40 and min((1,) + axes + codes) > 0 and self.step <= 1 << 24
              and (axes == (len(codes),) if self.kind == "codes" else not codes)
              and len(re.sub("%..", "%", f["key"])) < 1024, f"{self.key}: cannot be")
    def fail(self, f):
        check(self.frame("failed", row=str(self.row))[1] == {**f, "copy": "2"} != f, f"{self.key}: copies that differ")
        self.open, self.failed = False, (plain(f["stage"]), plain(f["reason"]))
    def chunks(self, fails=True): # what is left of it, as arrays [t, ...]; array(): all of it as one
        while self.open:
            kind, f = self.frame("chunk", "done", "failed", stream=self.begin["id"], record=self.no, row=str(self.row))
            check("key" not in f or plain(f["key"]) == self.key, f"{self.key}: {kind} frame of another item")
            if kind == "failed": self.fail(f)
            elif kind == "done":
                self.open, came = False, [str(self.frames), str(self.n), "%016x" % self.payload.intdigest()]
                check(came == [f[x] for x in ("frames", "chunks", "payload")] and self.shape[0] in (-1, self.frames),
                      f"{self.key}: its end does not fit what came")
            else:
                t, size, packed = number(f["frames"]), number(f["raw"]), self.data(number(f["size"]), 1 << 25)
                check(f["chunk"] == str(self.n) and 0 < size == t * self.step <= 1 << 24 and xxh64(packed) == f["data"],
                      f"{self.key}: chunk {self.n} is wrong")
                try: x = (zstandard.frame_content_size(packed) == size and
                          zstandard.ZstdDecompressor().decompress(packed, size, allow_extra_data=False))
                except zstandard.ZstdError as e: raise Error(f"{self.key}: chunk {self.n}: {e}") from e
                check(x, f"{self.key}: chunk {self.n} has another size")
                self.payload.update(x)
                self.n, self.frames, x = self.n + 1, self.frames + t, np.frombuffer(x, TYPES[self.dtype])
                yield (x if self.dtype != "bf16" else (x.astype("<u4") << 16).view("<f4")).reshape(t, *self.shape[1:])
        if fails and self.failed: raise Failed(*self.failed)
    def array(self):
        parts = [*self.chunks()]
        return np.concatenate(parts or [np.zeros((0, *self.shape[1:]), {**TYPES, "bf16": "<f4"}[self.dtype])])

def read(source):
    "Records of a file (its name, or open for reading bytes). What is not read of one is passed over."
    file, begin = source if hasattr(source, "read") else open(source, "rb"), None
    def data(n, most=1 << 16): return check(0 < n <= most and len(x := file.read(n)) == n and x, "cut short: no end")
    def frame(*kinds, **same): # type and fields of the next: one of these types, with the same fields
        if not (head := file.read(8)) and begin and kinds == ("begin",): return None, None
        check(len(head) == 8 and head[:4] == MAGIC, "no header where one must stand, or a stream without its end")
        text = data(int.from_bytes(head[4:], "little"))
        check(text[-24:] == b"\nxxh64=%s\n" % xxh64(text[:-23]).encode(), "a header with a wrong checksum")
        tag, *lines = text[:-24].decode("latin-1").split("\n")
        f = dict(x.split("=", 1) for x in lines if "=" in x and x[:4] != "via=")
        f["via"] = [plain(x[4:]) for x in lines if x[:4] == "via="]
        check(len(f) - 1 + len(f["via"]) == len(lines) and text.isascii(), f"{tag}: a field twice, or no field")
        wrong = {x for x in (*same, *FIELDS.get(tag[5:], "").split()) if x not in f or f[x] != same.get(x, f[x])}
        check(tag[:5] == "MTS1 " and tag[5:] in kinds and not wrong, f"{tag}: not known here, or wrong in {wrong}")
        return tag[5:], {**f, "id": text[-17:-1].decode()} if tag[5:] == "begin" else f
    while begin := frame("begin")[1]:
        n = chunks = failed = 0
        while (now := frame("record", "failed", "end", stream=begin["id"]))[0] != "end":
            check(now[1]["record"] == str(n), f"item {n} is missing: {now[0]} frame")
            yield (r := Record(begin, *now, frame, data))
            for _ in r.chunks(False): pass
            n, chunks, failed = n + 1, chunks + r.n, failed + bool(r.failed)
        check([now[1][x] for x in FIELDS["end"].split()] == [str(n), str(chunks), str(failed)], "its end counts other")

class Writer(contextlib.AbstractContextManager): # via: a line for each program so far; rows: the first, and the end
    def __init__(self, file, via, manifest=0, rows=(-1, -1), total=-1, level=1):
        self.file, self.pack = file, zstandard.ZstdCompressor(level, write_checksum=True).compress
        self.n, self.chunks, self.bad, self.begin = 0, 0, 0, {"first": str(rows[0]), "end": str(rows[1])}
        self.id = self.put("begin", *(("via", x) for x in via), manifest="%016x" % manifest, **self.begin, total=total)
    def put(self, what, /, *more, **f): # a frame with these fields, those of its item first
        if "row" in f: f = {"stream": self.id, "record": self.n, **f}
        text = "".join([f"MTS1 {what}\n", *(f"{k}={escape(x)}\n" for k, x in (*f.items(), *more))]).encode()
        self.file.write(MAGIC + struct.pack("<I", len(text) + 23) + text + b"xxh64=%s\n" % xxh64(text).encode())
        return xxh64(text)
    def write(self, key, x, kind, row=-1, sample_rate=0, frame_rate=(0, 1), classes=(), model=0):
        r, known, codes = None, isinstance(x, np.ndarray), {"classes": ",".join(map(str, classes))} if classes else {}
        try:
            for part in [x] if known else x:
                if not r:
                    f = {"row": row, "key": key, "kind": kind, "sample_rate": sample_rate, "model": "%016x" % model,
                         "dtype": next((t for t in TYPES if part.dtype == TYPES[t]), part.dtype),
                         "shape": ",".join(map(str, (len(x) if known else -1, *part.shape[1:]))),
                         "frame_rate": "%d/%d" % tuple(frame_rate), **codes}
                    r = Record(self.begin, "record", {k: escape(v) for k, v in f.items()})
                    self.put("record", **f)
                check(part.dtype == TYPES[r.dtype] and part.shape[1:] == r.shape[1:], f"{key}: parts that differ")
                for at in range(0, len(part), max(1, (1 << 20) // r.step)):
                    data = part[at:at + max(1, (1 << 20) // r.step)].tobytes()
                    packed, t = self.pack(data), len(data) // r.step
                    self.put("chunk", row=row, chunk=r.n, frames=t, raw=len(data), size=len(packed), data=xxh64(packed))
                    self.file.write(packed)
                    r.payload.update(data)
                    r.n, r.frames, self.chunks = r.n + 1, r.frames + t, self.chunks + 1
            check(r, f"{key}: nothing to be written")
            self.put("done", row=row, key=key, frames=r.frames, chunks=r.n, payload="%016x" % r.payload.intdigest())
            self.n += 1
        except Failed as e: self.fail(key, *e.args, row)
    def fail(self, key, program, reason, row=-1):
        for copy in 1, 2: self.put("failed", row=row, key=key, stage=program, reason=reason, copy=copy)
        self.n, self.bad = self.n + 1, self.bad + 1
    def __exit__(self, error, *_): # after an error without an end: whoever reads notices
        if not error: self.put("end", stream=self.id, records=self.n, chunks=self.chunks, failed=self.bad)
        self.file.flush()
