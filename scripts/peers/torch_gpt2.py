"""GPT-2 124M with random weights in PyTorch: as equal to kprof's pass as eager PyTorch allows.

  torch_gpt2.py DTYPE THREADS PREFILL CONTEXT STEPS REPETITIONS

Prints JSON: the times of REPETITIONS prefills of PREFILL tokens, and of STEPS decode steps after CONTEXT tokens, in
seconds. The KV cache is preallocated, attention is scaled_dot_product_attention, the head computes the last position
alone.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN, HEADS, LAYERS, VOCAB, POSITIONS = 768, 12, 12, 50257, 1024
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Block(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.qkv, self.out = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)
        self.keys = torch.zeros(1, HEADS, POSITIONS, HIDDEN // HEADS, dtype=dtype)
        self.values = torch.zeros_like(self.keys)

    def forward(self, x, first):
        new = x.shape[1]
        split = self.qkv(self.norm1(x)).split(HIDDEN, 2)
        q, k, v = (t.view(1, new, HEADS, HIDDEN // HEADS).transpose(1, 2) for t in split)
        self.keys[:, :, first : first + new] = k
        self.values[:, :, first : first + new] = v
        k, v = self.keys[:, :, : first + new], self.values[:, :, : first + new]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=new > 1)
        x = x + self.out(y.transpose(1, 2).reshape(1, new, HIDDEN))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCAB, HIDDEN), nn.Embedding(POSITIONS, HIDDEN)
        self.blocks = nn.ModuleList(Block(dtype) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, ids, first):
        x = self.tokens(ids) + self.positions.weight[first : first + ids.shape[1]]
        for block in self.blocks:
            x = block(x, first)
        return int(F.linear(self.norm(x[:, -1:]), self.tokens.weight).argmax())


def timed(model, ids, first):
    start = time.perf_counter()
    token = model(ids, first)
    return time.perf_counter() - start, token


def main():
    dtype, threads, prefill, context, steps, repetitions = DTYPES[sys.argv[1]], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = Gpt(dtype).to(dtype).eval()
    with torch.inference_mode():
        prompt = torch.randint(0, VOCAB, (1, prefill))
        model(prompt, 0)
        prefills = [timed(model, prompt, 0)[0] for _ in range(repetitions)]
        _, token = timed(model, torch.randint(0, VOCAB, (1, context)), 0)
        decodes = []
        for position in range(context, context + steps):
            time_s, token = timed(model, torch.tensor([[token]]), position)
            decodes.append(time_s)
    print(json.dumps({"torch": torch.__version__, "prefill_s": prefills, "decode_s": decodes[1:]}))


main()
