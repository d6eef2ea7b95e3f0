# /// script
# dependencies = ["numpy"]
# ///
"""The perplexity of a GPT-2 of bytes in plain numpy and float64, for checking `kprof perplexity` against.

    numpy_perplexity.py MODEL_DIR TEXT CONTEXT STRIDE [SHARE]

Windows are those of Hugging Face's guide to perplexity; SHARE layers use K and V of their group's first (1: none share). No cache, no kprof code: every window is one pass.
"""
import json
import struct
import sys

import numpy as np


def tensors(path):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    out = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        assert info["dtype"] == "BF16", info
        bits = np.frombuffer(body[begin:end], dtype="<u2").astype(np.uint32) << 16
        out[name] = bits.view(np.float32).astype(np.float64).reshape(info["shape"])
    return out


def norm(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gain + bias


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def log_probabilities(w, config, ids, share):
    heads, n = config["n_head"], len(ids)
    x = w["wte.weight"][ids] + w["wpe.weight"][:n]
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for layer in range(config["n_layer"]):
        p = lambda name: w[f"h.{layer}.{name}"]
        qkv = norm(x, p("ln_1.weight"), p("ln_1.bias")) @ p("attn.c_attn.weight") + p("attn.c_attn.bias")
        q, own_k, own_v = (a.reshape(n, heads, -1).transpose(1, 0, 2) for a in np.split(qkv, 3, axis=-1))
        if layer % share == 0:
            k, v = own_k, own_v
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + y.transpose(1, 0, 2).reshape(n, -1) @ p("attn.c_proj.weight") + p("attn.c_proj.bias")
        inner = gelu(norm(x, p("ln_2.weight"), p("ln_2.bias")) @ p("mlp.c_fc.weight") + p("mlp.c_fc.bias"))
        x = x + inner @ p("mlp.c_proj.weight") + p("mlp.c_proj.bias")
    logits = norm(x, w["ln_f.weight"], w["ln_f.bias"]) @ w["wte.weight"].T
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def main():
    folder, text, context, stride = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    share = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    config = json.load(open(f"{folder}/config.json"))
    w = tensors(f"{folder}/model.safetensors")
    ids = np.frombuffer(open(text, "rb").read(), dtype=np.uint8)
    nll, scored_to = [], 0
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        log_p = log_probabilities(w, config, ids[begin:end], share)
        scored = np.arange(max(scored_to, begin + 1), end)
        nll.extend(-log_p[scored - begin - 1, ids[scored]])
        scored_to = end
        if end == len(ids):
            break
    print(f"{len(nll)} tokens, perplexity {np.exp(np.mean(nll)):.8f}")


main()
