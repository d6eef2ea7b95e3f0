"""GPT-2 in PyTorch on a GPU: the shapes that gpu-check.sh gives to kprof, eager and compiled.

  gpu_torch.py MODEL OUT.json     MODEL: gpt2, gpt2-medium or tiny

bf16, random weights of the true shape, a prompt of 128 tokens and 63 decode steps at batch 1. The KV cache is preallocated and
written in place at a position that lies on the device, so that a step can be captured; attention is
scaled_dot_product_attention. Times are CUDA events around each step, after warm-up; medians of ten generations. Also the
time of SDPA alone at the prompt's shape and at 4096 tokens.
"""
import json
import statistics
import sys

import torch
import torch.nn.functional as F
from torch import nn

SHAPES = {"gpt2": (768, 12, 12), "gpt2-medium": (1024, 16, 24), "tiny": (64, 4, 4)}
VOCAB, PROMPT, TOKENS, GENERATIONS = 50257, 128, 64, 10


class Block(nn.Module):
    def __init__(self, hidden, heads, capacity):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.register_buffer("keys", torch.zeros(1, heads, capacity, hidden // heads))
        self.register_buffer("values", torch.zeros(1, heads, capacity, hidden // heads))

    def forward(self, x, positions, mask):
        hidden, new = x.shape[-1], x.shape[1]
        q, k, v = (t.view(1, new, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(hidden, 2))
        self.keys.index_copy_(2, positions, k)
        self.values.index_copy_(2, positions, v)
        if new > 1:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = F.scaled_dot_product_attention(q, self.keys, self.values, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(1, new, hidden))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, hidden, heads, layers):
        super().__init__()
        self.capacity = PROMPT + TOKENS
        self.tokens, self.positions = nn.Embedding(VOCAB, hidden), nn.Embedding(1024, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, self.capacity) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)

    def forward(self, ids, positions):
        x = self.tokens(ids) + self.positions(positions)
        mask = (torch.arange(self.capacity, device=ids.device) <= positions[-1]).view(1, 1, 1, -1)
        for block in self.blocks:
            x = block(x, positions, mask)
        return F.linear(self.norm(x[:, -1:]), self.tokens.weight).argmax(-1)


def timed(call):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    result = call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3, result


def generation(prefill, decode, prompt):
    positions = torch.arange(PROMPT, device="cuda")
    prefill_s, token = timed(lambda: prefill(prompt, positions))
    decode_s = []
    for position in range(PROMPT, PROMPT + TOKENS - 1):
        at = torch.tensor([position], device="cuda")
        time_s, token = timed(lambda t=token, at=at: decode(t, at).clone())
        decode_s.append(time_s)
    return prefill_s, statistics.mean(decode_s)


def sdpa(heads, width, tokens):
    q, k, v = (torch.randn(1, heads, tokens, width, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    call = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for _ in range(5):
        call()
    return statistics.median(timed(call)[0] for _ in range(20))


def main():
    model_name, out = sys.argv[1], sys.argv[2]
    hidden, heads, layers = SHAPES[model_name]
    torch.manual_seed(0)
    model = Gpt(hidden, heads, layers).cuda().to(torch.bfloat16).eval()
    prompt = torch.randint(0, VOCAB, (1, PROMPT), device="cuda")
    result = {"torch": torch.__version__, "device": torch.cuda.get_device_name(), "model": model_name}
    with torch.inference_mode():
        for name, compiled in [("eager", False), ("compile", True)]:
            decode = torch.compile(model, mode="reduce-overhead") if compiled else model
            try:
                runs = [generation(model, decode, prompt) for _ in range(GENERATIONS + 3)][3:]
            except Exception as error:  # torch.compile needs a C compiler, which may be missing
                result[name] = {"error": str(error)[:500]}
                continue
            prefills, decodes = zip(*runs)
            result[name] = {
                "prefill_s": statistics.median(prefills),
                "decode_s": statistics.median(decodes),
                "prefills_s": prefills,
                "decodes_s": decodes,
            }
        result["sdpa_s"] = {str(tokens): sdpa(heads, hidden // heads, tokens) for tokens in (PROMPT, 4096)}
    with open(out, "w") as file:
        json.dump(result, file, indent=1)
    print(json.dumps({k: v for k, v in result.items() if k != "torch"}))


main()
