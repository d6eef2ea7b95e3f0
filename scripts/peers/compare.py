"""Runs kprof (cpu and candle), llama.cpp and PyTorch on equal random-weight GPT-2 124M models, interleaved, and writes
docs/performance.md. See scripts/compare-peers.sh."""

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

import gguf

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREFILL = 512


@dataclasses.dataclass(frozen=True)
class Load:
    """How much every engine does per format and round."""

    context: int  # tokens in the cache before decode
    steps: int  # decode steps timed
    candle_steps: int  # of kprof's baseline, which is slow
    repetitions: int  # of prefill, and of decode where the engine repeats it


IDLE = Load(context=64, steps=32, candle_steps=8, repetitions=3)
# An engine whose threads wait for each other by spinning loses a slice of the scheduler at every wait: minutes for what
# takes a second.
HOGGED = Load(context=16, steps=16, candle_steps=8, repetitions=1)
# What is compared: kprof's flags, the GGUF type, and PyTorch's type where it has one.
FORMATS = {
    "f32": (["--dtype", "f32"], "f32", "f32"),
    "bf16": (["--dtype", "bf16"], "bf16", "bf16"),
    "f16": (["--dtype", "f16"], "f16", "f16"),
    "int8": (["--dtype", "bf16", "--weights", "int8:32"], "q8_0", None),
}
ENGINES = {"cpu": "kprof cpu", "candle": "kprof candle", "llama": "llama.cpp", "torch": "PyTorch"}
GEMMS = ("attn.qkv", "attn.proj", "mlp.up", "mlp.down")
# What kprof aims at, on a machine of 2 to 4 cores with AVX-512: its speed in units of the peer's.
TARGETS = {
    ("llama", "decode"): {"f32": 1.2, "bf16": 1.2, "f16": 1.2, "int8": 1.2},
    ("llama", "prefill"): {"bf16": 1.8},
    ("torch", "decode"): {"f32": 2.0, "bf16": 2.0},
    ("torch", "prefill"): {"f32": 2.0, "bf16": 2.0},
    ("candle", "decode"): {"f32": 3.5, "bf16": 15.0},
}
# With as many processes that never wait as half the cores.
HOG_TARGETS = {("llama", stage): dict.fromkeys(FORMATS, 3.0) for stage in ("decode", "prefill")}


def run(command, prefix, timeout):
    result = subprocess.run(prefix + command, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    if result.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}\nfailed with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return result.stdout


def kprof(args, prefix, folder, name, implementation, load):
    """One process per shape; the exports of both."""
    flags, _, _ = FORMATS[name]
    exports = []
    count, steps = (load.repetitions, load.steps) if implementation == "cpu" else (1, load.candle_steps)
    for prompt, tokens in (PREFILL, 2), (load.context, steps + 1):
        path = folder / "run.jsonl"
        path.unlink(missing_ok=True)
        command = [args.kprof, "phase", "--implementation", implementation, "--version", "v1", *flags]
        command += ["--threads", str(args.threads), "--prompt-length", str(prompt), "--tokens", str(tokens)]
        command += ["--repetitions", str(count), "--quiet", "--output", str(path), "--export-json", "-"]
        run(command, prefix, args.timeout)
        report = run([args.kprof, "phase", "--load", str(path), "--quiet", "--export-json", "-"], [], args.timeout)
        exports.append(json.loads(report))
    prefill, decode = ({stage["stage"]: stage for stage in export["stages"]} for export in exports)
    ceilings = exports[1]["ceilings"] + exports[0]["ceilings"]
    gemms = [op for op in prefill["prefill"]["ops"] if op["label"] in GEMMS]
    gemm_s = sum(op["time_s"] for op in gemms)
    return {
        "prefill_s": prefill["prefill"]["ttft_s"],
        "decode_s": decode["decode"]["tpot_s"],
        "decode_bytes": sum(op["bytes"] for op in decode["decode"]["ops"]),
        "gemm_flop_per_s": sum(op["matmul_flops"] for op in gemms) / gemm_s if gemm_s else None,
        "coverage": min(prefill["prefill"]["coverage"], decode["decode"]["coverage"]),
        "overhead": decode["decode"]["instrumentation_overhead"],
        "read": max(c["value"] for c in ceilings if c.get("level") == "dram"),
        "peaks": {
            f"{c['precision']} {c['unit']}": c["value"] for c in exports[0]["ceilings"] if c["kind"] == "compute"
        },
        "instructions": exports[0]["manifest"]["config"].get("instructions"),
        "cpu": exports[0]["manifest"]["device"]["name"],
        "revision": exports[0]["manifest"]["kprof"]["revision"],
    }


def llama(args, prefix, folder, name, load):
    model = folder / f"{FORMATS[name][1]}.gguf"
    if not model.exists():
        gguf.write(model, FORMATS[name][1])
    shapes = (["-p", str(PREFILL), "-n", "0"], ["-p", "0", "-n", str(load.steps), "-d", str(load.context)])
    common = [args.llama_bench, "-m", str(model), "-t", str(args.threads), "-r", str(load.repetitions), "-o", "json"]

    def both(flags):
        return [json.loads(run([*common, *shape, *flags], prefix, args.timeout))[0] for shape in shapes]

    note = None
    try:
        prefill, decode = both([])
    except RuntimeError:
        # Seen: an illegal instruction with repacked INT8 weights on a CPU with a matrix unit.
        prefill, decode = both(["--repack", "0"])
        note = f"llama.cpp {name} failed with its weights repacked, and ran with `--repack 0`"
    speed = statistics.median
    return {
        "prefill_s": PREFILL / speed(prefill["samples_ts"]),
        "decode_s": 1 / speed(decode["samples_ts"]),
        "build": prefill["build_commit"],
        "note": note,
    }


def torch(args, prefix, name, load):
    script = ROOT / "scripts/peers/torch_gpt2.py"
    numbers = [args.threads, PREFILL, load.context, load.steps + 1, load.repetitions]
    command = [args.python, str(script), FORMATS[name][2], *map(str, numbers)]
    result = json.loads(run(command, prefix, args.timeout))
    return {
        "prefill_s": statistics.median(result["prefill_s"]),
        "decode_s": statistics.fmean(result["decode_s"]),
        "build": result["torch"],
    }


def one(args, prefix, folder, engine, name, load):
    if engine == "llama":
        return llama(args, prefix, folder, name, load)
    if engine == "torch":
        return torch(args, prefix, name, load)
    return kprof(args, prefix, folder, name, engine, load)


def versions(args, prefix, folder):
    """v1 and v2 in bf16 at long contexts: rows of a table, each from one run, whose repetitions are interleaved."""
    rows = []
    for context, batch in ((1024, 1), (1024, 8), (4096, 1), (4096, 8)):
        print(f"v1 and v2: context {context}, batch {batch}", file=sys.stderr)
        path = folder / "versions.jsonl"
        path.unlink(missing_ok=True)
        repetitions = 1 if context * batch > 8192 else 5
        command = [args.kprof, "phase", "--preset", "gpt2-4k", "--dtype", "bf16", "--version", "v1", "v2"]
        command += ["--threads", str(args.threads), "--prompt-length", str(context - 16), "--tokens", "17"]
        command += ["--batch", str(batch), "--repetitions", str(repetitions), "--warmup", "0", "--max-time", "120s"]
        run([*command, "--quiet", "--output", str(path)], prefix, args.timeout)
        report = run([args.kprof, "phase", "--load", str(path), "--quiet", "--export-json", "-"], [], args.timeout)
        v1, v2 = ({s["version"]: s for s in json.loads(report)["stages"] if s["stage"] == "decode"}[v] for v in ("v1", "v2"))
        attention = [v["phases"]["attention"]["time_s"] for v in (v1, v2)]
        steps = [v["tpot_s"] for v in (v1, v2)]
        cells = [f"{number(1e3 * a)} / {number(1e3 * b)} | {number(a / b)}" for a, b in (attention, steps)]
        rows.append(f"| {context} | {batch} | {v1['repetitions']} | " + " | ".join(cells) + " |")
    return rows


def has(engine, name):
    if engine == "torch":
        return FORMATS[name][2] is not None
    return engine != "candle" or name != "int8"


def measure(args, engines, prefix, folder, label, load, count):
    """rounds[round][(engine, format)] = result, and a line for each that a peer could not do, or not in time."""
    rounds, left_out = [], []
    for number in range(count):
        results = {}
        for name in args.formats:
            for engine in engines:
                if not has(engine, name):
                    continue
                print(f"{label}round {number + 1} of {count}: {ENGINES[engine]} {name}", file=sys.stderr)
                try:
                    results[engine, name] = one(args, prefix, folder, engine, name, load)
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    print(f"left out: {error}", file=sys.stderr)
                    late = isinstance(error, subprocess.TimeoutExpired)
                    why = f"did not finish in {args.timeout:g} s" if late else "failed"
                    left_out.append(f"{label}round {number + 1}: {ENGINES[engine]} {name} {why}")
        rounds.append(results)
    return rounds, left_out


def values(rounds, engine, name, key):
    return [r[engine, name][key] for r in rounds if (engine, name) in r and r[engine, name].get(key) is not None]


def ratios(rounds, engine, name, stage):
    """The peer's time in units of kprof's, round by round."""
    pairs = [(r.get((engine, name)), r.get(("cpu", name))) for r in rounds]
    key = f"{stage}_s"
    return [peer[key] / ours[key] for peer, ours in pairs if peer and ours]


def number(x, digits=3):
    return "n/a" if x is None else f"{x:.{digits}g}" if x < 1000 else f"{x:,.0f}"


def spread(sample, digits=3):
    if not sample:
        return "n/a"
    low, mid, high = min(sample), statistics.median(sample), max(sample)
    return f"{number(mid, digits)} ({number(low, digits)} to {number(high, digits)})"


def speed_table(rounds, engines, formats, stage):
    tokens = PREFILL if stage == "prefill" else 1
    lines = ["| | " + " | ".join(formats) + " |", "|---|" + "--:|" * len(formats)]
    for engine in engines:
        cells = [spread([tokens / t for t in values(rounds, engine, f, f"{stage}_s")]) for f in formats]
        lines.append(f"| {ENGINES[engine]} | " + " | ".join(cells) + " |")
    return lines


def ratio_table(rounds, engines, formats, targets):
    lines = ["| kprof cpu against | | " + " | ".join(formats) + " |", "|---|---|" + "--:|" * len(formats)]
    for engine in engines:
        if engine == "cpu":
            continue
        for stage in ("decode", "prefill"):
            cells = []
            for name in formats:
                sample = ratios(rounds, engine, name, stage)
                target = targets.get((engine, stage), {}).get(name)
                cell = "n/a" if not sample else spread(sample)
                if sample and target:
                    met = "met" if statistics.median(sample) >= target else "**missed**"
                    cell += f", target {target:g}: {met}"
                cells.append(cell)
            lines.append(f"| {ENGINES[engine]} | {stage} | " + " | ".join(cells) + " |")
    return lines


def peak(result, name):
    """The compute ceiling of the unit that a format's products run on, with its name."""
    peaks = result["peaks"]
    wanted = {"f32": ["fp32 matrix"], "f16": ["fp16 matrix"]}.get(name, ["bf16 matrix", "bf16 vector"]) + ["fp32 vector"]
    if result["instructions"] != "amx":
        wanted = [w for w in wanted if "matrix" not in w]
    return next(((w, peaks[w]) for w in wanted if w in peaks), (None, None))


def share_table(rounds, engines, formats):
    lines = ["| | " + " | ".join(formats) + " |", "|---|" + "--:|" * len(formats)]
    for engine in engines:
        cells = []
        for name in formats:
            shares = []
            for r in rounds:
                ours, theirs = r.get(("cpu", name)), r.get((engine, name))
                if ours and theirs:
                    shares.append(100 * ours["decode_bytes"] / theirs["decode_s"] / ours["read"])
            cells.append(spread(shares))
        lines.append(f"| decode, {ENGINES[engine]}: bytes / time / read bandwidth [%] | " + " | ".join(cells) + " |")
    cells, units = [], []
    for name in formats:
        shares = []
        for r in rounds:
            ours = r.get(("cpu", name))
            unit, rate = peak(ours, name) if ours else (None, None)
            if rate and ours["gemm_flop_per_s"]:
                shares.append(100 * ours["gemm_flop_per_s"] / rate)
                units.append(f"{name}: {unit}")
        cells.append(spread(shares))
    lines.append("| prefill, kprof cpu: rate of its GEMMs / measured peak [%] | " + " | ".join(cells) + " |")
    overhead = [spread([100 * x for x in values(rounds, "cpu", f, "overhead")]) for f in formats]
    coverage = [spread([100 * x for x in values(rounds, "cpu", f, "coverage")]) for f in formats]
    lines.append("| kprof cpu: cost of instrumentation in decode [%] | " + " | ".join(overhead) + " |")
    lines.append("| kprof cpu: coverage [%] | " + " | ".join(coverage) + " |")
    return lines, ", ".join(dict.fromkeys(units))


def document(args, rounds, hogged, long, engines, left_out):
    formats = args.formats
    first = next(r["cpu", f] for r in rounds for f in formats if ("cpu", f) in r)
    read = spread([v / 1e9 for f in formats for v in values(rounds, "cpu", f, "read")])
    builds = {e: next(iter(v for f in formats for v in values(rounds, e, f, "build")), None) for e in engines}
    shares, units = share_table(rounds, engines, formats)
    priority = f"Every process was run under `{args.run_with}`: the machine was shared." if args.run_with else ""
    lines = [
        "# Speed beside peers",
        "",
        "Written by `scripts/compare-peers.sh`; no number here is typed by hand. GPT-2 124M, random weights of one shape in",
        f"every engine, batch 1, {args.threads} threads: prefill of {PREFILL} tokens, and decode of {IDLE.steps} tokens after",
        f"{IDLE.context}. {args.rounds} rounds; in each, every engine ran once per format, one after the other. Numbers are",
        "medians over rounds (smallest to largest). Ratios are of the same round: a busy machine hits both sides.",
        priority,
        "",
        f"- {first['cpu']}; kprof {first['revision']}, instructions {first['instructions']}",
        f"- DRAM read bandwidth, probed beside every run of kprof: {read} GB/s",
        *[f"- {ENGINES[e]}: {b}" for e, b in builds.items() if b],
        *[f"- {note}" for note in dict.fromkeys(n for f in formats for n in values(rounds, "llama", f, "note"))],
        *[f"- Left out: {line}" for line in left_out],
        "",
        "int8 is blocks of 32 inputs with one f16 scale: `--weights int8:32`, and Q8_0 in llama.cpp. llama.cpp's KV cache is",
        "f16 in all columns; kprof's and PyTorch's are of the activations' type (bf16 with int8).",
        "",
        "## Decode [tokens/s]",
        "",
        *speed_table(rounds, engines, formats, "decode"),
        "",
        "## Prefill [tokens/s]",
        "",
        *speed_table(rounds, engines, formats, "prefill"),
        "",
        "## Ratios: the peer's time in units of kprof's",
        "",
        *ratio_table(rounds, engines, formats, TARGETS),
        "",
        "## Shares of what the machine can do",
        "",
        "Bytes are kprof's analytic floor of a decode step, also for the peers; above 100 % a part came from a cache. The",
        f"peaks of prefill: {units}.",
        "",
        *shares,
        "",
    ]
    if long:
        lines += [
            "## The cache in INT8 (v2) beside bf16 (v1), at long contexts",
            "",
            "Preset gpt2-4k in bf16. Decode steps up to the context; times are means over steps, medians over repetitions.",
            "",
            "| context | batch | repetitions | attention phase v1 / v2 [ms] | v1 : v2 | step v1 / v2 [ms] | v1 : v2 |",
            "|--:|--:|--:|--:|--:|--:|--:|",
            *long,
            "",
        ]
    if hogged:
        hog_engines = [e for e in engines if e != "candle"]
        lines += [
            f"## With {args.hogs} other processes that never wait",
            "",
            f"At ordinary priority, {len(hogged)} rounds: prefill of {PREFILL} tokens once, and decode of {HOGGED.steps} tokens after",
            f"{HOGGED.context}. Tokens per second of decode, of prefill, and the ratios:",
            "",
            *speed_table(hogged, hog_engines, formats, "decode"),
            "",
            *speed_table(hogged, hog_engines, formats, "prefill"),
            "",
            *ratio_table(hogged, hog_engines, formats, HOG_TARGETS),
            "",
        ]
    return "\n".join(line for line in lines if line is not None)


def physical_cores():
    cores = set()
    for topology in pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        try:
            ids = [(topology / part).read_text().strip() for part in ("physical_package_id", "core_id")]
        except OSError:
            continue
        cores.add(tuple(ids))
    return len(cores) or os.cpu_count()


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/compare-peers.sh", description=__doc__)
    parser.add_argument("--llama-bench", metavar="PATH", help="a built llama-bench of llama.cpp")
    parser.add_argument("--python", metavar="PATH", help="a Python that has torch")
    parser.add_argument("--kprof", default=str(ROOT / "target/release/kprof"), metavar="PATH", help="default: this build")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--threads", type=int, default=physical_cores(), metavar="N", help="default: one per core")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="default: all")
    parser.add_argument("--no-candle", action="store_true", help="leave the baseline out: it is slow")
    parser.add_argument("--hogs", type=int, default=0, metavar="N", help="then again with N busy processes beside")
    parser.add_argument("--hog-rounds", type=int, default=3, metavar="N", help="rounds beside them; default: 3")
    parser.add_argument("--no-long", action="store_true", help="leave out v1 and v2 at long contexts")
    parser.add_argument("--run-with", default="", metavar="COMMAND", help="put before every process, e.g. 'chrt -f 10'")
    parser.add_argument("--timeout", type=float, default=300, metavar="S", help="per process; default: 300")
    parser.add_argument("--raw", type=pathlib.Path, metavar="FILE", help="write all results as JSON")
    parser.add_argument("--no-doc", action="store_true", help="print the document instead of writing it")
    args = parser.parse_args()
    for flag, path in (("--llama-bench", args.llama_bench), ("--python", args.python), ("--kprof", args.kprof)):
        if path and not os.access(path, os.X_OK):
            parser.error(f"{flag} {path}: not a program that can be run")
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    return args


def main():
    args = arguments()
    engines = ["cpu"] + ([] if args.no_candle else ["candle"])
    engines += (["llama"] if args.llama_bench else []) + (["torch"] if args.python else [])
    prefix = shlex.split(args.run_with)
    with tempfile.TemporaryDirectory(prefix="kprof-peers-") as folder:
        folder = pathlib.Path(folder)
        rounds, left_out = measure(args, engines, prefix, folder, "", IDLE, args.rounds)
        report(args, engines, rounds, [], [], left_out)
        long = [] if args.no_long else versions(args, prefix, folder)
        report(args, engines, rounds, [], long, left_out)
        if args.hogs:
            busy = [sys.executable, "-c", "while True: pass"]
            hogs = [subprocess.Popen(busy) for _ in range(args.hogs)]
            try:
                quick = [e for e in engines if e != "candle"]
                hogged, late = measure(args, quick, [], folder, f"{args.hogs} hogs, ", HOGGED, args.hog_rounds)
            finally:
                for hog in hogs:
                    hog.kill()
            report(args, engines, rounds, hogged, long, left_out + late)


def report(args, engines, rounds, hogged, long, left_out):
    """Writes what is known so far."""
    if args.raw:
        plain = [[{"engine": e, "format": f, **v} for (e, f), v in r.items()] for r in rounds + hogged]
        args.raw.write_text(json.dumps(plain, indent=1))
    if not any(("cpu", f) in r for r in rounds for f in args.formats):
        sys.exit("no run of kprof succeeded: nothing to compare")
    text = document(args, rounds, hogged, long, engines, left_out)
    if args.no_doc:
        print(text)
        return
    path = ROOT / "docs/performance.md"
    path.write_text(text)
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
