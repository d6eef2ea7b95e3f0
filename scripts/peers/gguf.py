"""A GPT-2 124M with random weights as a GGUF file, for llama-bench; standard library alone.

The layout is that of the GGUF specification, version 3 (ggml-org/ggml, docs/gguf.md), names and keys those that
llama.cpp reads for the architecture `gpt2`. There is no tokenizer: a benchmark needs none.
"""

import array
import random
import struct

HIDDEN, HEADS, LAYERS, VOCAB, POSITIONS = 768, 12, 12, 50257, 1024
ALIGNMENT = 32
# GGML's type number, bytes of a block, elements of a block, and the file type of llama.cpp.
TYPES = {"f32": (0, 4, 1, 0), "f16": (1, 2, 1, 1), "bf16": (30, 2, 1, 32), "q8_0": (8, 34, 32, 7)}


def _tensors():
    """Name, shape with the contiguous dimension first, and whether it is stored in the file's type."""
    yield "token_embd.weight", (HIDDEN, VOCAB), True
    yield "position_embd.weight", (HIDDEN, POSITIONS), False
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            yield f"{block}{norm}.weight", (HIDDEN,), False
            yield f"{block}{norm}.bias", (HIDDEN,), False
        linears = (
            ("attn_qkv", HIDDEN, 3 * HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_up", HIDDEN, 4 * HIDDEN),
            ("ffn_down", 4 * HIDDEN, HIDDEN),
        )
        for name, inputs, outputs in linears:
            yield f"{block}{name}.weight", (inputs, outputs), True
            yield f"{block}{name}.bias", (outputs,), False
    yield "output_norm.weight", (HIDDEN,), False
    yield "output_norm.bias", (HIDDEN,), False


def _noise(dtype):
    """A few thousand blocks of random weights of a standard deviation of 0.02, as bytes; tensors repeat them."""
    source = random.Random(0)
    values = [source.gauss(0.0, 0.02) for _ in range(32 * 4096)]
    if dtype == "f32":
        return array.array("f", values).tobytes()
    if dtype == "f16":
        return struct.pack(f"<{len(values)}e", *values)
    if dtype == "bf16":
        return array.array("H", array.array("f", values).tobytes())[1::2].tobytes()
    blocks = []
    for at in range(0, len(values), 32):
        block = values[at : at + 32]
        scale = max(map(abs, block)) / 127
        blocks.append(struct.pack("<e32b", scale, *(round(x / scale) for x in block)))
    return b"".join(blocks)


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def write(path, dtype):
    """Writes the model with its matrices as `dtype`; what llama.cpp keeps in f32 (norms, biases, positions) stays so."""
    number, block_bytes, block, file_type = TYPES[dtype]
    keys = {
        "general.architecture": "gpt2",
        "general.name": "gpt2 with random weights",
        "general.file_type": file_type,
        "general.quantization_version": 2,
        "gpt2.vocab_size": VOCAB,
        "gpt2.context_length": POSITIONS,
        "gpt2.embedding_length": HIDDEN,
        "gpt2.feed_forward_length": 4 * HIDDEN,
        "gpt2.block_count": LAYERS,
        "gpt2.attention.head_count": HEADS,
        "gpt2.attention.layer_norm_epsilon": 1e-5,
        "tokenizer.ggml.model": "none",
    }
    infos, sizes, offset = b"", [], 0
    for name, shape, typed in _tensors():
        elements = 1
        for dimension in shape:
            elements *= dimension
        size = elements // block * block_bytes if typed else 4 * elements
        infos += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", number if typed else 0, offset)
        sizes.append((size, typed))
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    header = b"GGUF" + struct.pack("<IQQ", 3, len(sizes), len(keys))
    header += b"".join(_text(key) + _value(value) for key, value in keys.items()) + infos
    noise = {True: _noise(dtype), False: _noise("f32")}
    with open(path, "wb") as file:
        file.write(header + bytes(-len(header) % ALIGNMENT))
        for size, typed in sizes:
            data, left = noise[typed], size
            while left > 0:
                file.write(data[: min(left, len(data))])
                left -= len(data)
            file.write(bytes(-size % ALIGNMENT))
