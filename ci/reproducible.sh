#!/usr/bin/env bash
# Builds the binary of a party (no training) so that the same commit gives the same bytes in every folder:
#   ci/reproducible.sh build OUT     writes OUT/eqo and prints its SHA-256
#   ci/reproducible.sh prove         builds the commit twice, in folders and Cargo homes of different names, and compares
# The compiler, the C compiler and the system are those of the machine: a report of a hash names them.
# Only this script sets these flags: in .cargo/config.toml they would rebuild everything for everybody.
set -euo pipefail
cd "$(dirname "$0")/.."
EPOCH=$(git log -1 --format=%ct)
CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}

build() { # SOURCE OUT
    local source out
    source=$(cd "$1" && pwd) && mkdir -p "$2" && out=$(cd "$2" && pwd)
    # Paths reach the binary by panics' places and debug information, of Rust and of the C in ring and mozjpeg-sys.
    # Cargo hashes RUSTFLAGS into every symbol, so the first are given to rustc behind its back.
    local maps="--remap-path-prefix=$source=/eqo --remap-path-prefix=$CARGO_HOME=/cargo --remap-path-prefix=$out=/target"
    local c="-ffile-prefix-map=$source=/eqo -ffile-prefix-map=$CARGO_HOME=/cargo -ffile-prefix-map=$out=/target"
    (
        cd "$source"
        export SOURCE_DATE_EPOCH=$EPOCH RUSTC_WRAPPER="$source/ci/rustc-remapped.sh" EQO_REMAP="$maps" CFLAGS="$c" RUSTFLAGS=""
        CARGO_INCREMENTAL=0 cargo build --release --locked --package eqo --no-default-features --target-dir "$out/target" \
            --config 'profile.release.codegen-units=1' --config 'profile.release.debug=false'
    )
    cp "$out/target/release/eqo" "$out/eqo"
    sha256sum "$out/eqo"
}

prove() {
    local work
    work=$(mktemp -d) && trap "rm -rf '$work'" EXIT
    for folder in one a/longer/other; do
        mkdir -p "$work/$folder" "$work/$folder-home" "$CARGO_HOME/registry"
        git archive HEAD | tar x -C "$work/$folder"
        ln -s "$CARGO_HOME/registry" "$work/$folder-home/registry"
        CARGO_HOME="$work/$folder-home" build "$work/$folder" "$work/$folder-out"
    done
    if ! cmp "$work/one-out/eqo" "$work/a/longer/other-out/eqo"; then
        echo "the two binaries differ" >&2
        exit 1
    fi
    echo "the same binary from two folders and two Cargo homes"
}

case "${1:-}" in
    build) build . "${2:?usage: ci/reproducible.sh build OUT}" ;;
    prove) prove ;;
    *) echo "usage: ci/reproducible.sh build OUT | prove" >&2 && exit 2 ;;
esac
