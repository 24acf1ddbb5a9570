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
TESTS=(ring::pack ot::prg ot::transpose ot::permutation ot::kernels ot::leaves)

portable() { cargo +nightly miri test --locked -p eqo-protocol --lib -- "${TESTS[@]}"; }
kernels() {
    RUSTFLAGS="-Ctarget-feature=+aes,+vaes,+gfni,+bmi2,+avx512f,+avx512bw,+avx512vbmi,+avx512vbmi2" portable
}

case "${1:-both}" in
    portable | kernels) "$1" ;;
    both) portable && kernels ;;
    *) echo "usage: ci/miri.sh [portable|kernels]" >&2 && exit 2 ;;
esac
