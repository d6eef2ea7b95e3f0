#!/usr/bin/env python3
# /// script
# requires-python = ">=3.8"
# ///
"""Writes a Python wheel that carries a kprof binary, with the standard library alone.

    scripts/make_wheel.py BINARY TARGET --version 0.1.0 --output dist

`pip install` of the wheel puts the binary among the environment's scripts; there is no Python code in it. The layout is
that of the binary distribution format (packaging.python.org): NAME-VERSION.data/scripts/ and NAME-VERSION.dist-info/
with METADATA, WHEEL and RECORD. The date of the files is SOURCE_DATE_EPOCH, so that one commit gives the same bytes.
"""

import argparse
import base64
import hashlib
import os
import stat
import sys
import time
import zipfile
from pathlib import Path

# manylinux2014 is glibc 2.17 (PEP 599); newer pips know it under its PEP 600 name.
PLATFORMS = {
    "x86_64-unknown-linux-gnu": ["manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    "aarch64-unknown-linux-gnu": ["manylinux_2_17_aarch64", "manylinux2014_aarch64"],
}
ROOT = Path(__file__).resolve().parent.parent


def metadata(version: str) -> str:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return (
        "Metadata-Version: 2.4\n"
        "Name: kprof\n"
        f"Version: {version}\n"
        "Summary: A profiling and roofline toolkit for LLM inference\n"
        "License-Expression: MIT OR Apache-2.0\n"
        "License-File: LICENSE-APACHE\n"
        "License-File: LICENSE-MIT\n"
        "Requires-Python: >=3.8\n"
        "Description-Content-Type: text/markdown\n"
        f"\n{readme}"
    )


def wheel_file(platforms: list) -> str:
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in platforms)
    return f"Wheel-Version: 1.0\nGenerator: kprof make_wheel.py\nRoot-Is-Purelib: false\n{tags}"


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def entry(name: str, mode: int, date: tuple) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix: the permissions of the binary are kept.
    info.external_attr = (stat.S_IFREG | mode) << 16
    return info


def write_wheel(binary: Path, target: str, version: str, folder: Path) -> Path:
    platforms = PLATFORMS[target]
    info = f"kprof-{version}.dist-info"
    files = [
        (f"kprof-{version}.data/scripts/kprof", binary.read_bytes(), 0o755),
        (f"{info}/METADATA", metadata(version).encode(), 0o644),
        (f"{info}/WHEEL", wheel_file(platforms).encode(), 0o644),
    ]
    for licence in ("LICENSE-APACHE", "LICENSE-MIT"):
        files.append((f"{info}/licenses/{licence}", (ROOT / licence).read_bytes(), 0o644))
    record = "".join(f"{name},{digest(data)},{len(data)}\n" for name, data, _ in files)
    record_name = f"{info}/RECORD"
    files.append((record_name, f"{record}{record_name},,\n".encode(), 0o644))
    # The zip format knows no date before 1980.
    epoch = max(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), 315532800)
    date = time.gmtime(epoch)[:6]
    path = folder / f"kprof-{version}-py3-none-{'.'.join(platforms)}.whl"
    part = path.with_suffix(".tmp")
    with zipfile.ZipFile(part, "w") as wheel:
        for name, data, mode in files:
            wheel.writestr(entry(name, mode, date), data, compresslevel=9)
    part.replace(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("target", choices=sorted(PLATFORMS))
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", type=Path, default=Path("dist"))
    args = parser.parse_args()
    if not args.binary.is_file():
        sys.exit(f"error: no binary {args.binary}; scripts/release.sh builds it")
    args.output.mkdir(parents=True, exist_ok=True)
    print(write_wheel(args.binary, args.target, args.version, args.output))


if __name__ == "__main__":
    main()
