#!/usr/bin/env bash
# Builds what GPU hosts without Rust can run: binaries for Linux that need no newer glibc than 2.17 (CentOS 7), and a
# Python wheel of each. Everything is written to dist/, with its SHA-256.
#
#   scripts/release.sh              every target of the list below whose Rust target is installed
#   scripts/release.sh x86_64-unknown-linux-gnu
#
# Cross compilers are not needed: cargo-zigbuild and zig come from PyPI into target/release-tools/. KPROF_RELEASE_TOOLS
# names another folder to keep them in.
set -euo pipefail
cd "$(dirname "$0")/.."

GLIBC=2.17
TARGETS=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin x86_64-pc-windows-gnu)
TOOLS=${KPROF_RELEASE_TOOLS:-$PWD/target/release-tools}
DIST=$PWD/dist

case ${1:-} in
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
esac

say() { printf '\n== %s\n' "$*"; }

# zig as linker, in an environment of its own: nothing is installed into the system or the user's Python.
tools() {
    [ -x "$TOOLS/bin/cargo-zigbuild" ] && return
    say 'tools: cargo-zigbuild and ziglang from PyPI'
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check 'cargo-zigbuild>=0.20' 'ziglang>=0.13'
}

installed() {
    if ! command -v rustup >/dev/null; then
        rustc -vV | sed -n 's/^host: //p'
    else
        rustup target list --installed
    fi
}

# The newest glibc that a binary asks for; empty where it asks for none.
newest_glibc() {
    readelf --version-info --wide "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -V | tail -1
}

check_glibc() {
    local found
    found=$(newest_glibc "$1")
    if [ -z "$found" ] || [ "$(printf '%s\n' "$found" "$GLIBC" | sort -V | tail -1)" != "$GLIBC" ]; then
        echo "error: $1 needs glibc '${found:-unknown}', which is not $GLIBC or older" >&2
        exit 1
    fi
    echo "needs glibc $found"
}

build() {
    local target=$1 zig_target=$1 name binary archive
    case $target in *-linux-gnu) zig_target=$target.$GLIBC ;; esac
    say "$target"
    # Debug lines would be four fifths of the file; the profile keeps them for `cargo build --release`.
    PATH="$TOOLS/bin:$PATH" CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols \
        cargo zigbuild --release --locked --bin kprof --target "$zig_target"
    binary=target/$target/release/kprof
    [ -f "$binary" ] || binary=$binary.exe
    case $target in *-linux-gnu) check_glibc "$binary" ;; esac
    name=kprof-$VERSION-$target
    archive=$DIST/$name.tar.gz
    mkdir -p "$DIST/$name"
    cp "$binary" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$DIST/$name/"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$DIST" -czf "$archive" "$name"
    rm -r "${DIST:?}/$name"
    case $target in
        *-linux-gnu) python3 scripts/make_wheel.py "$binary" "$target" --version "$VERSION" --output "$DIST" ;;
    esac
}

VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# Archives of one commit are the same bytes whenever they are made.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
tools
mkdir -p "$DIST"
known=$(installed)
built=0
for target in "${@:-${TARGETS[@]}}"; do
    if ! grep -qx "$target" <<<"$known"; then
        if [ $# -gt 0 ]; then
            echo "error: the Rust target $target is not installed: rustup target add $target" >&2
            exit 1
        fi
        echo "$target: SKIPPED, not installed (rustup target add $target)"
        continue
    fi
    case $target in
        *-apple-darwin)
            # Apple's frameworks are not in zig's package.
            if [ -z "${SDKROOT:-}" ] && [ "$(uname)" != Darwin ]; then
                echo "$target: SKIPPED, needs the macOS SDK in SDKROOT"
                continue
            fi
            ;;
    esac
    build "$target"
    built=$((built + 1))
done
[ "$built" -gt 0 ] || { echo 'error: nothing was built' >&2; exit 1; }
say "dist/"
(cd "$DIST" && sha256sum -- *.tar.gz *.whl 2>/dev/null | tee SHA256SUMS)
ls -l "$DIST"
