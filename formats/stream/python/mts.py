"""Streams of mert (.mts, SPECIFICATION.md), read and written a chunk at a time. Needs numpy and zstandard.

    for r in mts.read("song.mts"):              # or a binary file, such as sys.stdin.buffer
        print(r.key, r.kind, r.array().shape)   # or: for x in r.chunks(): ..., which holds one chunk at a time
    with mts.Writer(sys.stdout.buffer, ["mytool 1.0 gain=2"]) as w: # x: an array, or arrays [t, ...] in turn
        w.write("song.mp3", x, "mel", sample_rate=24000, frame_rate=(24000, 320))

Reading stops with mts.Error at the first thing that is wrong. array() and chunks() raise mts.Failed for an item that
failed in another program; write() passes that on. Where the module xxhash is installed, checksums are fast."""
import re, struct
import numpy as np
import zstandard

TYPES = {"f32": "<f4", "f16": "<f2", "i16": "<i2", "u16": "<u2", "i32": "<i4", "bf16": "<u2"} # bf16 comes as float32
FIELDS = {"begin": "manifest first end total", "record": "record row key kind dtype shape sample_rate frame_rate model",
          "chunk": "record row chunk frames raw size data", "done": "record row key frames chunks payload",
          "failed": "record row key stage reason copy", "end": "records chunks failed"}
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5, MAGIC, MASK = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5, b"\x54\x2a\x4d\x18", (1 << 64) - 1

class Error(Exception): "The stream is not as the specification has it, or would not be."
class Failed(Exception): "The item failed: program and reason."

def turn(x, n): return (x << n | x >> 64 - n) & MASK
def mix(x): return turn(x * P2 & MASK, 31) * P1 & MASK
class Hash: # XXH64 (Collet)
    def __init__(self): self.v, self.left, self.n = [(P1 + P2) & MASK, P2, 0, -P1 & MASK], b"", 0
    def update(self, data):
        data, self.n = self.left + data, self.n + len(data)
        for lanes in struct.iter_unpack("<4Q", data[:len(data) & -32]):
            self.v = [turn((v + x * P2) & MASK, 31) * P1 & MASK for v, x in zip(self.v, lanes)]
        self.left = data[len(data) & -32:]
    def intdigest(self):
        d, v = self.left, self.v if self.n >= 32 else []
        h = sum(map(turn, v, (1, 7, 12, 18))) & MASK if v else P5
        for x in v: h = ((h ^ mix(x)) * P1 + P4) & MASK
        h = (h + self.n) & MASK
        for x, in struct.iter_unpack("<Q", d[:len(d) & -8]): h = (turn(h ^ mix(x), 27) * P1 + P4) & MASK
        for x, in struct.iter_unpack("<I", d[len(d) & -8:len(d) & -4]): h = turn(h ^ x * P1 & MASK, 23) * P2 + P3 & MASK
        for x in d[len(d) & -4:]: h = turn(h ^ x * P5 & MASK, 11) * P1 & MASK
        for n, p in (33, P2), (29, P3): h = (h ^ h >> n) * p & MASK
        return h ^ h >> 32
try: from xxhash import xxh64 as Hash
except ImportError: pass

def xxh64(data): h = Hash(); h.update(data); return "%016x" % h.intdigest()
def raw(text): return str(text).encode("utf-8", "surrogateescape")
def escape(text): return re.sub(rb"[^ -$&-~]", lambda m: b"%%%02X" % m[0][0], raw(text)).decode()
def check(good, why):
    if not good: raise Error(why)
def plain(text):
    check(re.fullmatch("([^%]|%[0-9A-F]{2})*", text), f"a % without two digits: {text}")
    return re.sub(b"%(..)", lambda m: bytes([int(m[1], 16)]), raw(text)).decode("utf-8", "surrogateescape")
def numbers(text, n=0): # so many of them; 0: any
    check(re.fullmatch("(-1|[0-9]{1,18})([,/](-1|[0-9]{1,18}))*", text), f"no numbers: {text}")
    check(n in (0, len(x := tuple(int(x) for x in re.split("[,/]", text)))), f"not {n} numbers: {text}")
    return x
def number(text): return numbers(text, 1)[0]

class Record: # key, row; begin: the fields of the stream's begin frame; failed: None or (program, reason)
    kind = dtype = shape = sample_rate = frame_rate = classes = model = failed = None # those of FIELDS["record"]
    def __init__(self, begin, f, frame=None, data=None):
        self.begin, self.frame, self.data, self.n, self.frames, self.payload = begin, frame, data, 0, 0, Hash()
        self.key, self.row, self.number, self.open = plain(f["key"]), number(f["row"]), f["record"], "kind" in f
        first, end = number(begin["first"]), number(begin["end"])
        check(min(self.row, first) < 0 or first <= self.row < end, f"{self.key}: row {self.row} is not the stream's")
        if not self.open: return self.fail(f)
        check(re.fullmatch("[0-9a-f]{16}", f["model"]), f"{self.key}: its model is no hash")
        self.kind, self.dtype, self.model = f["kind"], f["dtype"], int(f["model"], 16)
        self.sample_rate, self.frame_rate = number(f["sample_rate"]), numbers(f["frame_rate"], 2)
        self.shape, self.classes = numbers(f["shape"]), numbers(f["classes"]) if "classes" in f else ()
        axes, codes, self.step = self.shape[1:], self.kind == "codes", int(TYPES.get(self.dtype, "<f9")[2])
        for x in axes: self.step *= x
        check(self.dtype in TYPES and len(axes) < 4 and min((1,) + axes + self.classes) > 0 and self.shape[0] <= 1 << 40
              and re.fullmatch("[a-z0-9_-]{1,31}", self.kind) and len(raw(self.key)) < 1024 and self.step <= 1 << 24
              and codes == bool(self.classes) and (not codes or axes == (len(self.classes),)), f"{self.key}: cannot be")
    def next(self, *kinds): # the next frame, of this item
        kind, f = self.frame()
        check(kind in kinds and (f["record"], f["row"], plain(f.get("key", escape(self.key)))) ==
              (self.number, str(self.row), self.key), f"{self.key}: {kind} frame of another item, or out of turn")
        return kind, f
    def fail(self, f):
        check(self.next("failed")[1] == {**f, "copy": "2"} != f, f"{self.key}: the copies of a failed frame differ")
        self.open, self.failed = False, (plain(f["stage"]), plain(f["reason"]))
    def rest(self):
        while self.open:
            kind, f = self.next("chunk", "done", "failed")
            if kind == "failed": self.fail(f)
            elif kind == "done":
                self.open, came = False, [str(self.frames), str(self.n), "%016x" % self.payload.intdigest()]
                check(came == [f[x] for x in ("frames", "chunks", "payload")] and self.shape[0] in (-1, self.frames),
                      f"{self.key}: its end does not fit what came")
            else:
                t, size, packed = number(f["frames"]), number(f["raw"]), self.data(number(f["size"]), 1 << 25)
                check(f["chunk"] == str(self.n) and 0 < size == t * self.step <= 1 << 24 and xxh64(packed) == f["data"]
                      and zstandard.frame_content_size(packed) == size, f"{self.key}: chunk {self.n} is wrong")
                x = zstandard.ZstdDecompressor().decompress(packed, size, allow_extra_data=False)
                self.payload.update(x)
                self.n, self.frames, x = self.n + 1, self.frames + t, np.frombuffer(x, TYPES[self.dtype])
                yield (x if self.dtype != "bf16" else (x.astype("<u4") << 16).view("<f4")).reshape(t, *self.shape[1:])
    def chunks(self): # what is left of it, as arrays [t, ...]
        yield from self.rest()
        if self.failed: raise Failed(*self.failed)
    def array(self): # [T, ...]
        parts = list(self.chunks())
        return np.concatenate(parts) if parts else np.zeros((0, *self.shape[1:]), TYPES[self.dtype])

def read(source):
    "Records of a file (its name, or open for reading bytes). What is not read of one is passed over."
    file = source if hasattr(source, "read") else open(source, "rb")
    def data(n, most=1 << 16):
        got = file.read(min(n, most + 1))
        check(len(got) == n <= most, "cut short: a stream without its end")
        return got
    def frame(begins=False): # type and fields
        head, f = file.read(8), {"via": []}
        if begins and not head: return None, None
        check(len(head) == 8 and head[:4] == MAGIC, "no header where one must stand, or a stream without its end")
        text = data(max(32, *struct.unpack("<I", head[4:])))
        check(text[-23:] == b"xxh64=%s\n" % xxh64(text[:-23]).encode(), "a header with a wrong checksum")
        tag, *lines = text[:-24].decode("latin-1").split("\n")
        check(text.isascii() and all("=" in x for x in lines), f"{tag}: a line that is no field")
        for name, value in (x.split("=", 1) for x in lines):
            check(name not in f or name == "via", f"{tag}: {name} comes twice")
            f[name] = f["via"] + [plain(value)] if name == "via" else value
        lacks = set(FIELDS.get(tag[5:], "?").split()) - set(f)
        check(tag[:5] == "MTS1 " and not lacks, f"{tag}: not known here, or without {lacks}")
        check(begins or f.get("stream") == begin["id"], "a frame of another stream: the first has no end")
        return tag[5:], {**f, "id": text[-17:-1].decode()} if begins else f
    kind, begin = frame(True)
    check(kind, "empty: no stream in it")
    while kind:
        check(kind == "begin", f"{kind}: not the begin of a stream")
        n = chunks = failed = 0
        while (kind := (now := frame())[0]) != "end":
            check(kind in ("record", "failed") and now[1]["record"] == str(n), f"item {n} is missing: {kind} frame")
            yield (r := Record(begin, now[1], frame, data))
            for _ in r.rest(): pass
            n, chunks, failed = n + 1, chunks + r.n, failed + bool(r.failed)
        check([now[1][x] for x in FIELDS["end"].split()] == [str(n), str(chunks), str(failed)], "its end counts other")
        kind, begin = frame(True)

class Writer: # via: a line for each program so far; rows: the first of the manifest that come, and the end
    def __init__(self, file, via, manifest=0, rows=(-1, -1), total=-1, level=1):
        self.file, self.n, self.chunks, self.bad = file, 0, 0, 0
        self.begin = {"first": str(rows[0]), "end": str(rows[1])}
        self.id = self.put("begin", manifest="%016x" % manifest, **self.begin, total=total, via=via)
        self.pack = zstandard.ZstdCompressor(level, write_checksum=True).compress
    def put(self, what, /, **f):
        lines = [f"{k}={escape(x)}\n" for k, v in f.items() for x in (v if k == "via" else [v])]
        text = "".join([f"MTS1 {what}\n", *lines]).encode()
        self.file.write(MAGIC + struct.pack("<I", len(text) + 23) + text + b"xxh64=%s\n" % xxh64(text).encode())
        return xxh64(text)
    def write(self, key, x, kind, row=-1, sample_rate=0, frame_rate=(0, 1), classes=(), model=0):
        r, item, known = None, {"stream": self.id, "record": self.n, "row": row}, isinstance(x, np.ndarray)
        try:
            for part in [x] if known else x:
                if not r:
                    f = {**item, "key": key, "kind": kind, "sample_rate": sample_rate, "model": "%016x" % model,
                         "dtype": next((t for t in TYPES if part.dtype == TYPES[t]), part.dtype),
                         "shape": ",".join(map(str, (len(x) if known else -1, *part.shape[1:]))),
                         "frame_rate": "%d/%d" % tuple(frame_rate)}
                    f |= {"classes": ",".join(map(str, classes))} if classes else {}
                    r = Record(self.begin, {k: escape(v) for k, v in f.items()})
                    self.put("record", **f)
                check(part.dtype == TYPES[r.dtype] and part.shape[1:] == r.shape[1:], f"{key}: parts that differ")
                for at in range(0, len(part), max(1, (1 << 20) // r.step)):
                    data = part[at:at + max(1, (1 << 20) // r.step)].tobytes()
                    packed, t = self.pack(data), len(data) // r.step
                    self.put("chunk", **item, chunk=r.n, frames=t, raw=len(data), size=len(packed), data=xxh64(packed))
                    self.file.write(packed)
                    r.payload.update(data)
                    r.n, r.frames, self.chunks = r.n + 1, r.frames + t, self.chunks + 1
            check(r, f"{key}: nothing to be written")
            self.put("done", **item, key=key, frames=r.frames, chunks=r.n, payload="%016x" % r.payload.intdigest())
            self.n += 1
        except Failed as e: self.fail(key, *e.args, row)
    def fail(self, key, program, reason, row=-1):
        f = {"stream": self.id, "record": self.n, "row": row, "key": key, "stage": program, "reason": reason}
        for copy in 1, 2: self.put("failed", **f, copy=copy)
        self.n, self.bad = self.n + 1, self.bad + 1
    def __enter__(self): return self
    def __exit__(self, error, *_): # after an error without an end: whoever reads notices
        if not error: self.put("end", stream=self.id, records=self.n, chunks=self.chunks, failed=self.bad)
        self.file.flush()
