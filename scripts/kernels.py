"""Compiles kernels/*.cu to PTX with NVRTC: python kernels.py LIBNVRTC FOLDER OUT ARCH. No GPU, no host compiler."""
import ctypes
import pathlib
import sys


def main(library, folder, out, arch):
    nvrtc = ctypes.CDLL(library)
    folder, out = pathlib.Path(folder), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    options = [f"--gpu-architecture={arch}", f"--include-path={folder}", "--std=c++17", "--extra-device-vectorization"]
    for source in sorted(folder.glob("*.cu")):
        program = ctypes.c_void_p()
        text = source.read_bytes()
        check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, source.name.encode(), 0, None, None))
        flags = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        failed = nvrtc.nvrtcCompileProgram(program, len(options), flags)
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        if log.value.strip():
            print(log.value.decode(), file=sys.stderr)
        if failed:
            sys.exit(f"{source.name}: NVRTC error {failed}")
        check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
        ptx = ctypes.create_string_buffer(size.value)
        check(nvrtc.nvrtcGetPTX(program, ptx))
        (out / source.with_suffix(".ptx").name).write_bytes(ptx.value)
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def check(code):
    if code:
        sys.exit(f"NVRTC error {code}")


if __name__ == "__main__":
    main(*sys.argv[1:])
