#!/bin/sh
# Fuzzes every target, or those named, for SECONDS each (600), JOBS at a time (2): fuzz/run.sh [TARGET...]
#
# Only stable Rust is needed: no sanitizer is compiled in, since the code is safe Rust but for small checked kernels. Overflow checks
# and debug assertions are on. Installs cargo-fuzz if it isn't there. What makes a target fail lies in fuzz/artifacts afterwards,
# the corpus in fuzz/corpus, and what each target ended with in fuzz/target/*.log.
set -eu
cd "$(dirname "$0")"
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
cargo fuzz build --sanitizer none
binaries=target/$(rustc -vV | sed -n 's/^host: //p')/release
targets=${*:-$(cargo fuzz list)}
for target in $targets; do
    EQO_SEEDS=corpus/$target "$binaries/$target" >/dev/null 2>&1
done
# -timeout: seconds that one input may take; -rss_limit_mb: what a process may hold.
fuzz='
    target=$1
    mkdir -p artifacts/$target
    dictionary=$(ls $target.dict 2>/dev/null | sed s/^/-dict=/)
    if nice '"$binaries"'/$target corpus/$target $dictionary -artifact_prefix=artifacts/$target/ -max_total_time='"${SECONDS_EACH:-600}"' \
        -timeout=30 -rss_limit_mb=2048 -max_len=65536 -len_control=0 -print_final_stats=1 >target/$target.log 2>&1
    then verdict=clean; else verdict=FAILED; fi
    inputs=$(sed -n "s/^stat::number_of_executed_units: *//p" target/$target.log)
    echo "$target: $verdict, $inputs inputs, $(grep -aoE "cov: [0-9]+ ft: [0-9]+" target/$target.log | tail -n 1)"
    [ $verdict = clean ]
'
echo "$targets" | tr ' ' '\n' | xargs -P "${JOBS:-2}" -I{} sh -c "$fuzz" sh {}
