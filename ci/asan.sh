#!/usr/bin/env bash
# AddressSanitizer over the tests of the modules that hold unsafe code (docs/unsafe.md), AVX-512 kernels included where the processor has
# them. The stable compiler ships the runtime; RUSTC_BOOTSTRAP lets it take the option. Builds everything anew in target/asan.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
runtime="$(rustc --print sysroot)/lib/rustlib/$target/lib"
if ! compgen -G "$runtime/*asan*" >/dev/null; then
    echo "skipped: no AddressSanitizer runtime in $runtime" >&2
    exit 0
fi
# With --target, build scripts and macros stay as they are.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/asan}" \
    cargo test --release --locked --target "$target" -p eqo-protocol --lib -- \
    ring::pack ot::prg ot::transpose ot::permutation ot::kernels ot::leaves ot::hash
