"""Peers of `make bench`, where they are installed: what other programs need for the same job on the same cores.

    peers.py cqt SECONDS          nnAudio's CQT of a clip, its kernels made before
    peers.py kmeans FILE.npy      scikit-learn's MiniBatchKMeans with HuBERT's settings, k = 500; then its inertia
    peers.py encodec SECONDS      transformers' EnCodec 24 kHz on PyTorch, 8 codebooks, random weights
    peers.py mert SECONDS         transformers' HuBERT of the 95M shape on PyTorch, random weights, all hidden states
    peers.py onnx SECONDS         the same model by ONNX Runtime
    peers.py mert2 SECONDS [DIR]  MERT-v2's Conformer of 632 million parameters in PyTorch's layers; DIR: with the
                                  weights of this model, which has the published names (random ones otherwise)

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


def mert2_model(torch):
    """The published names, so that a checkpoint loads; man/model.md 16 has the equations."""
    from torch import nn
    from torch.nn import functional as F

    class Response(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(1, 1, n)), nn.Parameter(torch.zeros(1, 1, n))

        def forward(self, x):
            a = x.norm(dim=1, keepdim=True)
            return self.weight * (x * (a / (a.mean(-1, keepdim=True) + 1e-6))) + self.bias + x

    class ConvNext(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.depthwise_block = nn.ModuleList([nn.Identity(), nn.Conv1d(n, n, 7, padding=3, groups=n)])
            self.pointwise_block = nn.Sequential(nn.LayerNorm(n, eps=1e-6), nn.Linear(n, 4 * n), nn.GELU(),
                                                 Response(4 * n), nn.Linear(4 * n, n))

        def forward(self, x):
            return x + self.pointwise_block(self.depthwise_block[1](x.transpose(1, 2)).transpose(1, 2))

    class Stage(nn.Module):
        def __init__(self, before, n, depth, resamples):
            super().__init__()
            if resamples:
                self.resampling_layer = nn.ModuleList([nn.LayerNorm(before, eps=1e-6), nn.Identity(),
                                                       nn.Conv1d(before, n, 2, stride=2)])
            self.convnext_layers = nn.Sequential(*[ConvNext(n) for _ in range(depth)])

        def forward(self, x):
            if hasattr(self, "resampling_layer"):
                x = self.resampling_layer[2](self.resampling_layer[0](x).transpose(1, 2)).transpose(1, 2)
            return self.convnext_layers(x)

    class FeedForward(nn.Module):
        def __init__(self, d, f):
            super().__init__()
            self.w_1, self.w_2 = nn.Linear(d, f), nn.Linear(f, d)

        def forward(self, x):
            return self.w_2(F.gelu(self.w_1(x)))

    class Attention(nn.Module):
        def __init__(self, d, heads):
            super().__init__()
            self.heads = heads
            for name in ("query", "key", "value", "out"):
                setattr(self, name + "_proj", nn.Linear(d, d))

        def forward(self, x, cosines, sines):
            def split(y):
                return y.view(1, x.shape[1], self.heads, -1).transpose(1, 2)

            def turn(y):
                a, b = y.chunk(2, -1)
                return y * cosines + torch.cat((-b, a), -1) * sines

            y = F.scaled_dot_product_attention(turn(split(self.query_proj(x))), turn(split(self.key_proj(x))),
                                               split(self.value_proj(x)))
            return self.out_proj(y.transpose(1, 2).reshape(x.shape))

    class ConvModule(nn.Module):
        def __init__(self, d, kernel):
            super().__init__()
            self.layer_norm = nn.LayerNorm(d)
            self.conv_block = nn.ModuleList([nn.Identity(), nn.Conv1d(d, 2 * d, 1, bias=False), nn.Identity(),
                                             nn.Conv1d(d, d, kernel, padding=kernel // 2, groups=d, bias=False),
                                             nn.ModuleList([nn.Identity(), nn.LayerNorm(d)]), nn.Identity(),
                                             nn.Conv1d(d, d, 1, bias=False)])

        def forward(self, x):
            c = self.conv_block
            x = c[3](F.glu(c[1](self.layer_norm(x).transpose(1, 2)), 1))
            return c[6](F.gelu(c[4][1](x.transpose(1, 2))).transpose(1, 2)).transpose(1, 2)

    class Block(nn.Module):
        def __init__(self, d, f, heads, kernel):
            super().__init__()
            self.ffn1, self.ffn2 = FeedForward(d, f), FeedForward(d, f)
            self.attn, self.conv_module = Attention(d, heads), ConvModule(d, kernel)
            for name in ("ffn1", "attn", "ffn2", "final"):
                setattr(self, name + "_layer_norm", nn.LayerNorm(d))

        def forward(self, x, cosines, sines):
            x = x + self.ffn1(self.ffn1_layer_norm(x)) / 2
            x = x + self.attn(self.attn_layer_norm(x), cosines, sines)
            x = x + self.conv_module(x)
            x = x + self.ffn2(self.ffn2_layer_norm(x)) / 2
            return self.final_layer_norm(x)

    class Model(nn.Module):
        def __init__(self, d=1024, f=4096, layers=24, heads=16, kernel=31):
            super().__init__()
            self.subsampling_module = nn.Sequential(Stage(128, 128, 3, False), Stage(128, 512, 4, True),
                                                    Stage(512, d, 5, True))
            self.layers = nn.ModuleList([Block(d, f, heads, kernel) for _ in range(layers)])
            self.head = d // heads

        def forward(self, pcm, window, fb, mean, deviation):
            x = torch.stft(pcm, 2048, 240, window=window, center=True, pad_mode="reflect", return_complex=True)
            x = 10 * torch.log10((x.abs() ** 2).transpose(1, 2)[:, :-1].matmul(fb).clamp(min=1e-10))
            hidden = [self.subsampling_module((x - mean) / deviation.clamp(min=1e-5))]
            speed = 1 / 10000 ** (torch.arange(0, self.head, 2).float() / self.head)
            angles = torch.arange(hidden[0].shape[1]).float()[:, None] * speed
            angles = torch.cat((angles, angles), -1)
            for layer in self.layers:
                hidden.append(layer(hidden[-1], angles.cos(), angles.sin()))
            return hidden

    return Model().eval()


def mert2(seconds, directory=None):
    torch, clip = torch_and_clip(seconds)
    model = mert2_model(torch)
    front = (torch.hann_window(2048), torch.rand(1025, 128), torch.zeros(128), torch.ones(128))
    if directory:
        from safetensors.torch import load_file

        weights = load_file(os.path.join(directory, "model.safetensors"))
        names = ("spectrogram.window", "mel_scale.fb", "mel_mean", "mel_std")
        front = tuple(weights.pop("feature_extractor." + name) for name in names)
        model.load_state_dict(weights)
    return median_time(lambda: model(clip, *front))


JOBS = {"cqt": cqt, "kmeans": kmeans, "encodec": encodec, "mert": mert, "onnx": onnx, "mert2": mert2}

if __name__ == "__main__":
    try:
        result = JOBS[sys.argv[1]](*sys.argv[2:])
    except ImportError as missing:
        sys.exit(str(missing))
    print(result if isinstance(result, str) else "%.4f" % result)
