"""Peers of `make bench`, where they are installed: what other programs need for the same job on the same cores.

    peers.py cqt SECONDS          nnAudio's CQT of a clip, its kernels made before
    peers.py kmeans FILE.npy      scikit-learn's MiniBatchKMeans with HuBERT's settings, k = 500; then its inertia
    peers.py encodec SECONDS      transformers' EnCodec 24 kHz on PyTorch, 8 codebooks, random weights
    peers.py mert SECONDS         transformers' HuBERT of the 95M shape on PyTorch, random weights, all hidden states
    peers.py onnx SECONDS         the same model by ONNX Runtime

Prints seconds (the median of three runs, or of one where a run takes long, after one that does not count; kmeans: the
only run) and ends with status 1 where something cannot be imported. Threads: $OMP_NUM_THREADS."""
import os
import sys
import time

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
RATE = 24000


def timed(job):
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def median_time(job):
    runs = 3 if timed(job) < 3 else 1
    return sorted(timed(job) for _ in range(runs))[runs // 2]


def torch_and_clip(seconds):
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    return torch, 0.1 * torch.randn(1, int(float(seconds) * RATE))


def cqt(seconds):
    _, clip = torch_and_clip(seconds)
    from nnAudio.features.cqt import CQT

    transform = CQT(sr=RATE, hop_length=320, fmin=32.7, n_bins=336, bins_per_octave=48, pad_mode="constant",
                    verbose=False)
    return median_time(lambda: transform(clip))


def kmeans(path):
    import numpy
    from sklearn.cluster import MiniBatchKMeans

    x = numpy.load(path)
    model = MiniBatchKMeans(n_clusters=500, init="k-means++", max_iter=100, batch_size=10000, tol=0.0, n_init=20,
                            max_no_improvement=100, reassignment_ratio=0.0, compute_labels=False, random_state=0)
    seconds = timed(lambda: model.fit(x))
    return "%.3f %.9g" % (seconds, -model.score(x))


def encodec(seconds):
    _, clip = torch_and_clip(seconds)
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    return median_time(lambda: model.encode(clip[None], bandwidth=6.0))


def hubert():
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(apply_spec_augment=False)).eval()


def mert(seconds):
    _, clip = torch_and_clip(seconds)
    model = hubert()
    return median_time(lambda: model(clip, output_hidden_states=True))


def onnx(seconds):
    import io

    import onnxruntime

    torch, clip = torch_and_clip(seconds)

    class HiddenStates(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = hubert()

        def forward(self, x):
            return self.model(x, output_hidden_states=True).hidden_states

    file = io.BytesIO()
    torch.onnx.export(HiddenStates(), (clip,), file, input_names=["pcm"], opset_version=18, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return median_time(lambda: session.run(None, {session.get_inputs()[0].name: clip.numpy()}))


JOBS = {"cqt": cqt, "kmeans": kmeans, "encodec": encodec, "mert": mert, "onnx": onnx}

if __name__ == "__main__":
    try:
        result = JOBS[sys.argv[1]](sys.argv[2])
    except ImportError as missing:
        sys.exit(str(missing))
    print(result if isinstance(result, str) else "%.4f" % result)
