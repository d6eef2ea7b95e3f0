#!/usr/bin/env python3
# /// script
# requires-python = ">=3.10"
# dependencies = ["polars", "duckdb"]
# ///
"""How fast kprof reads exports of Nsight Compute, next to polars, DuckDB and the csv crate.

Makes a long export (ragged, quoted, thousands separators, rules) and a wide one, runs every reader on both in turn,
checks that all give the same sums per kernel, and writes docs/ingest-speed.md.

  uv run scripts/bench-ingest.py                 (or in a virtual environment with polars and duckdb)
  scripts/bench-ingest.py --long-mb 100 --wide-mb 50 --rounds 3 --no-doc

Each reader runs in a process of its own, one after the other, round by round, so that a busy machine hits all alike.
Times of kprof are of the whole process, table and JSON included; those of polars and DuckDB leave their import out.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEEDED = [
    ("gpu__time_duration.sum", "ns"),
    ("dram__bytes.sum", "byte"),
    ("sm__sass_thread_inst_executed_op_dadd_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_dmul_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_dfma_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_fadd_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_fmul_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_ffma_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_hadd_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_hmul_pred_on.sum", "inst"),
    ("sm__sass_thread_inst_executed_op_hfma_pred_on.sum", "inst"),
    ("sm__ops_path_tensor_src_fp16_dst_fp32.sum", ""),
]
NAMES = [name for name, _ in NEEDED]
SECTIONS = {
    "GPU Speed Of Light Throughput": ["Elapsed Cycles", "Memory Throughput", "L1/TEX Cache Throughput",
                                      "L2 Cache Throughput", "SM Active Cycles"],
    "Compute Workload Analysis": ["Executed Ipc Active", "Executed Ipc Elapsed", "Issue Slots Busy", "SM Busy"],
    "Memory Workload Analysis": ["Mem Busy", "Max Bandwidth", "L1/TEX Hit Rate", "L2 Hit Rate", "Mem Pipes Busy"],
    "Scheduler Statistics": ["One or More Eligible", "Issued Warp Per Scheduler", "No Eligible",
                             "Active Warps Per Scheduler", "Eligible Warps Per Scheduler"],
    "Warp State Statistics": ["Warp Cycles Per Issued Instruction", "Avg. Active Threads Per Warp"],
    "Instruction Statistics": ["Executed Instructions", "Issued Instructions"],
    "Launch Statistics": ["Block Size", "Grid Size", "Registers Per Thread", "Threads", "Waves Per SM",
                          "Static Shared Memory Per Block", "Dynamic Shared Memory Per Block"],
    "Occupancy": ["Block Limit SM", "Block Limit Registers", "Block Limit Shared Mem", "Block Limit Warps",
                  "Theoretical Active Warps per SM", "Theoretical Occupancy", "Achieved Occupancy"],
}
RULES = [
    ("SOLBottleneck", "INF", "This kernel exhibits low compute throughput and memory bandwidth utilization relative to"
     " the peak performance of this device. Achieved compute throughput and/or memory bandwidth below 60.0% of peak"
     " typically indicate latency issues."),
    ("CPIStall", "OPT", "On average, each warp of this kernel spends 11.2 cycles being stalled waiting for a scoreboard"
     " dependency on an L1TEX operation."),
]
PEERS = ["polars", "duckdb", "csv"]
TIME = shutil.which("time")


def kernels(rng):
    stems = ["void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm_relu_f16_{}x128_32x{}_nn_align8>(T1::Params)",
             "void at::native::vectorized_elementwise_kernel<(int)4, at::native::BinaryFunctor<float, float, float, "
             "at::native::binary_internal::MulFunctor<float>>, std::array<char *, (unsigned long){}>>(int, T2, T3) [{}]",
             "ampere_sgemm_{}x{}_tn",
             "void flash_fwd_kernel<Flash_fwd_kernel_traits<(int){}, (int){}, (int)64, (int)4, (bool)0, (bool)0, "
             "cutlass::half_t>, (bool)0, (bool)1, (bool)0, (bool)0>(Flash_fwd_params)"]
    names = [stems[i % 4].format(16 << i % 5, i) for i in range(56)]
    # Names of template kernels reach thousands of characters.
    return names + [f"void f{i}<" + ", ".join(f"Policy<{rng.randrange(1 << 20)}, half_t>" for _ in range(45)) + ">(T1)"
                    for i in range(8)]


def grouped(rng):
    return f"{1 + rng.randrange(1 << rng.randrange(4, 31)):,}"


def unit_of(label):
    return "cycle" if label.endswith("Cycles") else "%"


def ratio(rng):
    return f"{rng.randrange(100)}.{rng.randrange(100):02}"


def make_long(path, size, rng):
    header = ("ID,Process ID,Process Name,Host Name,Kernel Name,Context,Stream,Block Size,Grid Size,Device,CC,"
              "Section Name,Metric Name,Metric Unit,Metric Value,Rule Name,Rule Type,Rule Description,"
              "Estimated Speedup Type,Estimated Speedup").split(",")
    names, written, launch, rows = kernels(rng), 0, 0, 0
    middles = [(f'"{section}","{label}","{unit_of(label)}","', ratio) for section, labels in SECTIONS.items() for label in labels]
    middles += [(f'"Command line profiler metrics","{name}","{unit}","', grouped) for name, unit in NEEDED]
    with open(path, "w", buffering=1 << 22) as out:
        out.write(",".join(f'"{cell}"' for cell in header) + "\n")
        while written < size:
            first = (f'"{launch}","12345","python3.12","127.0.0.1","{rng.choice(names)}","1","7","(256, 1, 1)",'
                     f'"({rng.randrange(1, 4096)}, 1, 1)","0","8.0",')
            text = "".join([f'{first}{middle}{value(rng)}",\n' for middle, value in middles])
            text += "".join([f'{first}"","","","","{rule}","{kind}","{words}","",""\n' for rule, kind, words in RULES])
            out.write(text)
            written, launch, rows = written + len(text), launch + 1, rows + len(middles) + len(RULES)
    return launch, rows


def make_wide(path, size, rng):
    others = 763 - 11 - len(NEEDED)
    columns = NEEDED + [(f"smsp__pcsamp_metric_{i}.avg", ["", "%", "inst", "cycle", "byte"][i % 5]) for i in range(others)]
    order = list(range(len(columns)))
    rng.shuffle(order)
    columns = [columns[i] for i in order]
    fixed = ["ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size",
             "Grid Size", "Device", "CC"]
    names, written, launch = kernels(rng), 0, 0
    # Cells outside the needed columns come from a pool of rows: making 80 million numbers takes long.
    needed = {i for i, (name, _) in enumerate(columns) if name in NAMES}
    pool = [[None if i in needed else rng.choice([grouped, ratio, lambda r: str(r.randrange(100))])(rng)
             for i in range(len(columns))] for _ in range(64)]
    cuts, start = [], 0
    for i in sorted(needed):
        cuts.append((start, i))
        start = i + 1
    cuts.append((start, len(columns)))
    parts = [[",".join(f'"{cell}"' for cell in row[a:b]) for a, b in cuts] for row in pool]
    with open(path, "w", buffering=1 << 22) as out:
        out.write(",".join(f'"{cell}"' for cell in fixed + [name for name, _ in columns]) + "\n")
        out.write(",".join(['""'] * len(fixed) + [f'"{unit}"' for _, unit in columns]) + "\n")
        while written < size:
            cells = []
            for part in rng.choice(parts)[:-1]:
                cells += [part, f'"{grouped(rng)}"'] if part else [f'"{grouped(rng)}"']
            cells.append(parts[launch % 64][-1])
            text = (f'"{launch}","12345","python3.12","127.0.0.1","{rng.choice(names)}","1","7","(256, 1, 1)",'
                    f'"({rng.randrange(1, 4096)}, 1, 1)","0","8.0",' + ",".join(c for c in cells if c) + "\n")
            out.write(text)
            written, launch = written + len(text), launch + 1
    return launch, launch


def peer(which, path, kind, threads):
    """Runs in a process of its own: prints the seconds and the sums per kernel and metric."""
    if which == "polars":
        os.environ["POLARS_MAX_THREADS"] = str(threads)
        import polars as pl
        value = lambda column: pl.col(column).str.replace_all(",", "", literal=True).cast(pl.Float64)
        start = time.perf_counter()
        scan = pl.scan_csv(path, infer_schema=False, truncate_ragged_lines=True, null_values=[],
                           skip_rows_after_header=0 if kind == "long" else 1)
        if kind == "long":
            query = (scan.select("Kernel Name", "Metric Name", "Metric Value")
                     .filter(pl.col("Metric Name").is_in(NAMES))
                     .with_columns(value("Metric Value")).group_by("Kernel Name", "Metric Name")
                     .agg(pl.col("Metric Value").sum()))
            sums = {(k, m): v for k, m, v in query.collect(engine="streaming").iter_rows()}
        else:
            query = (scan.select(["Kernel Name"] + NAMES).with_columns([value(n) for n in NAMES])
                     .group_by("Kernel Name").agg([pl.col(n).sum() for n in NAMES]))
            sums = {(r[0], m): v for r in query.collect(engine="streaming").iter_rows() for m, v in zip(NAMES, r[1:])}
    else:
        import duckdb
        start = time.perf_counter()
        db = duckdb.connect()
        db.execute(f"set threads={threads}")
        # Told the dialect and the columns: sniffing collapsed all columns of such files into one.
        with open(path) as file:
            header = file.readline().strip().strip('"').split('","')
        columns = "{" + ",".join(f"'{name}':'VARCHAR'" for name in header) + "}"
        source = (f"read_csv('{path}', header=false, skip={1 if kind == 'long' else 2}, auto_detect=false, "
                  f"columns={columns}, delim=',', quote='\"', escape='\"', new_line='\\n', null_padding=true, "
                  "strict_mode=false, max_line_size=10000000)")
        number = lambda column: f"sum(replace(\"{column}\", ',', '')::double)"
        if kind == "long":
            wanted = ",".join(f"'{n}'" for n in NAMES)
            rows = db.execute(f'select "Kernel Name", "Metric Name", {number("Metric Value")} from {source} '
                              f'where "Metric Name" in ({wanted}) group by 1, 2').fetchall()
            sums = {(k, m): v for k, m, v in rows}
        else:
            rows = db.execute(f'select "Kernel Name", {",".join(number(n) for n in NAMES)} from {source} '
                              "group by 1").fetchall()
            sums = {(r[0], m): v for r in rows for m, v in zip(NAMES, r[1:])}
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "sums": [[k, m, v] for (k, m), v in sums.items()]}))


def measured(command, cores):
    """Runs a command on the first `cores` cores: its output, seconds and peak resident memory in MB."""
    all_cores = sorted(os.sched_getaffinity(0))[:cores]
    # A small process starts the reader: the peak of a child counts what its parent had.
    peak = tempfile.NamedTemporaryFile()
    if TIME:
        command = [TIME, "-f", "%M", "-o", peak.name, *command]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             preexec_fn=lambda: os.sched_setaffinity(0, all_cores))
    out = child.stdout.read()
    err = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command[0]} failed:\n{err.decode()[-2000:]}")
    kib = int(pathlib.Path(peak.name).read_text().split()[-1]) if TIME else usage.ru_maxrss
    return out, seconds, kib * 1024 / 1e6


def run(reader, path, kind, cores, tools):
    if reader == "kprof":
        out, seconds, memory = measured([tools["kprof"], "roofline", path, "--export-json", "-"], cores)
        return seconds, memory, sums_of_kprof(json.loads(out))
    if reader == "csv":
        out, _, memory = measured([tools["bench"], "csv", path, kind], cores)
    elif reader == "lines":
        out, _, memory = measured([tools["bench"], "lines", path, str(cores)], cores)
        return json.loads(out)["seconds"], memory, None
    else:
        out, _, memory = measured([sys.executable, __file__, "--peer", reader, path, kind, str(cores)], cores)
    answer = json.loads(out)
    return answer["seconds"], memory, sums_per_kernel({(k, m): v for k, m, v in answer["sums"]})


def sums_per_kernel(sums):
    """Time, bytes and FLOPs by kernel, as kprof computes them from the counts."""
    answer = {}
    for kernel in {k for k, _ in sums}:
        of = lambda name: sums.get((kernel, name), 0.0) or 0.0
        op = lambda letter: sum(w * of(f"sm__sass_thread_inst_executed_op_{letter}{o}_pred_on.sum")
                                for o, w in (("add", 1), ("mul", 1), ("fma", 2)))
        flops = op("d") + op("f") + 2 * op("h") + of(NAMES[-1])
        answer[kernel] = (of(NAMES[0]) * 1e-9, of(NAMES[1]), flops)
    return answer


def sums_of_kprof(document):
    value = lambda v: v.get("value") if isinstance(v, dict) else v
    return {p["kernel"]: (p["time_s"], p["dram_bytes"], p["flops"]["total"] if isinstance(p["flops"], dict) else p["flops"])
            for p in document["points"]}


def agree(a, b):
    close = lambda x, y: abs(x - y) <= 1e-9 * max(abs(x), abs(y), 1e-30)
    return a.keys() == b.keys() and all(close(x, y) for k in a for x, y in zip(a[k], b[k]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long-mb", type=int, default=1000)
    parser.add_argument("--wide-mb", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", help="where the files are made and kept; a temporary folder without it")
    parser.add_argument("--no-doc", action="store_true", help="do not write docs/ingest-speed.md")
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args.peer[0], args.peer[1], args.peer[2], int(args.peer[3]))
    with tempfile.TemporaryDirectory() as temporary:
        bench(args, pathlib.Path(args.dir or temporary))


def build():
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "kprof"], cwd=ROOT, check=True)
    message = subprocess.run(["cargo", "bench", "--locked", "--bench", "ingest", "--no-run", "--message-format=json"],
                             cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    artifacts = [json.loads(line) for line in message.splitlines()]
    bench = [a["executable"] for a in artifacts if a.get("target", {}).get("name") == "ingest" and a.get("executable")]
    metadata = subprocess.run(["cargo", "metadata", "--format-version=1", "--no-deps"], cwd=ROOT, check=True,
                              stdout=subprocess.PIPE).stdout
    return {"kprof": json.loads(metadata)["target_directory"] + "/release/kprof", "bench": bench[-1]}


def bench(args, folder):
    tools = build()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind, size, make in (("long", args.long_mb, make_long), ("wide", args.wide_mb, make_wide)):
        path = folder / f"{kind}-{size}.csv"
        notes = path.with_suffix(".json")
        if not notes.exists():
            launches, rows = make(path, size * 1_000_000, random.Random(1))
            notes.write_text(json.dumps([launches, rows]))
        files.append((kind, str(path), *json.loads(notes.read_text())))
    small = folder / "small.csv"
    make_long(small, 200_000, random.Random(2))
    cores = len(os.sched_getaffinity(0))
    lines = report_head(cores)
    for kind, path, launches, rows in files:
        size = os.path.getsize(path)
        lines += [f"## {kind.capitalize()}: {size / 1e6:,.0f} MB, {launches:,} launches, {rows:,} rows", ""]
        for used in dict.fromkeys([cores, 1]):
            lines += table(kind, path, size, used, args.rounds, tools)
    lines += small_file(small, args.rounds, tools)
    text = "\n".join(lines)
    print(text)
    if not args.no_doc:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "ingest-speed.md").write_text(text + "\n")


def table(kind, path, size, cores, rounds, tools):
    readers = ["kprof", *PEERS, "lines"]
    seconds, memory, wrong, answers = {r: [] for r in readers}, {r: 0 for r in readers}, set(), {}
    for index in range(rounds + 1):
        for reader in readers:
            s, m, answer = run(reader, path, kind, cores, tools)
            answers[reader] = answer
            if index:  # The first round warms the page cache.
                seconds[reader].append(s)
            memory[reader] = max(memory[reader], m)
    for reader in PEERS:
        if not agree(answers["kprof"], answers[reader]):
            wrong.add(reader)
    label = {"csv": "csv crate, one thread", "lines": "counting newlines (the limit)"}
    out = [f"{'All ' if cores > 1 else ''}{cores} core{'s' if cores > 1 else ''}:", "",
           "| reader | median s | GB/s | kprof is faster by (paired median) | peak MB | same sums |",
           "|---|--:|--:|--:|--:|---|"]
    for reader in readers:
        median = statistics.median(seconds[reader])
        pairs = statistics.median(p / k for p, k in zip(seconds[reader], seconds["kprof"]))
        same = "" if reader == "lines" else ("**no**" if reader in wrong else "yes")
        out.append(f"| {label.get(reader, reader)} | {median:.3f} | {size / median / 1e9:.2f} | {pairs:.1f}x | "
                   f"{memory[reader]:.0f} | {same} |")
    return out + [""]


def small_file(path, rounds, tools):
    chart = str(path.with_suffix(".svg"))
    cores = len(os.sched_getaffinity(0))
    times = [measured([tools["kprof"], "roofline", str(path), "--export-svg", chart], cores)[1] for _ in range(rounds * 4)]
    size = os.path.getsize(path) / 1e3
    return ["## Small", "", f"An export of {size:.0f} kB, end to end with its chart: median "
            f"{statistics.median(times) * 1e3:.0f} ms, {min(times) * 1e3:.0f} to {max(times) * 1e3:.0f} ms.", ""]


def report_head(cores):
    import duckdb
    import polars
    cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    load = os.getloadavg()
    return ["# How fast exports are read", "",
            "Written by `scripts/bench-ingest.py`, which makes the files and runs every reader on them; do not edit.", "",
            f"- machine: {cpu}, {cores} cores, {platform.system()} {platform.release()}; load average {load[0]:.1f} before",
            f"- kprof {revision}; polars {polars.__version__} (streaming engine, only the needed columns), DuckDB "
            f"{duckdb.__version__} (told dialect and columns), csv crate (ByteRecord, flexible)",
            "- task: time, DRAM bytes and FLOPs by kernel. kprof: `kprof roofline FILE --export-json -`, the whole process; "
            "the others: sums of the twelve metrics by kernel, imports left out",
            "- files are in the page cache; readers run one after the other, round by round", ""]


if __name__ == "__main__":
    main()
