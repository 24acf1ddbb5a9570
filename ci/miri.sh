#!/usr/bin/env bash
# Miri over the tests of the modules that hold unsafe code (docs/unsafe.md): first the paths of every processor, then the AVX-512 kernels as
# far as Miri knows their instructions. Needs a nightly toolchain with miri and rust-src; says so and stops where there is none.
#   ci/miri.sh [portable|kernels]
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version 2>/dev/null; then
    echo "skipped: no Miri here; rustup toolchain install nightly --component miri --component rust-src" >&2
    exit 0
fi

# Miri is some thousand times slower than the processor: few cases of each property, and no files of failures.
export PROPTEST_CASES="${PROPTEST_CASES:-2}" PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
export MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/miri}"
# Not ot::leaves, ot::transpose and ring::pack, which take hours; without AVX-512 they have no unsafe code.
portable() { cargo +nightly miri test --locked -p eqo-protocol --lib -- ot::prg ot::permutation; }
# Rows only: Miri (of May 2026) knows no AES key schedule and no narrowing of registers, so those kernels are AddressSanitizer's.
kernels() {
    RUSTFLAGS="-Ctarget-feature=+aes,+vaes,+gfni,+bmi2,+avx512f,+avx512bw,+avx512vbmi,+avx512vbmi2" CARGO_TARGET_DIR=target/miri-kernels \
        cargo +nightly miri test --locked -p eqo-protocol --lib -- ot::prg
}

case "${1:-both}" in
    portable | kernels) "$1" ;;
    both) portable && kernels ;;
    *) echo "usage: ci/miri.sh [portable|kernels]" >&2 && exit 2 ;;
esac
