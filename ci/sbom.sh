#!/usr/bin/env bash
# Writes target/sbom/eqo.cdx.json, a CycloneDX list of every crate in the binary of a party (no training), and holds it to `cargo tree`.
# cargo-cyclonedx is built into target/tools once; where that can't be, this says so and is no failure.
#   ci/sbom.sh [FEATURES OF CARGO, such as --no-default-features (the default) or --features cuda]
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=0.5.9
features=("${@:---no-default-features}")

if ! PATH="$PWD/target/tools/bin:$PATH" cargo cyclonedx --version >/dev/null 2>&1; then
    if ! cargo install cargo-cyclonedx --version "$VERSION" --locked --quiet --root target/tools; then
        echo "skipped: cargo-cyclonedx isn't here and can't be installed" >&2
        exit 0
    fi
fi
target=$(rustc -vV | sed -n 's/^host: //p')
PATH="$PWD/target/tools/bin:$PATH" cargo cyclonedx --format json --spec-version 1.5 --target "$target" "${features[@]}" \
    --manifest-path cli/Cargo.toml --override-filename eqo.cdx --quiet
mkdir -p target/sbom
# One file a member; the others' are of no use.
mv cli/eqo.cdx.json target/sbom/
find . -name eqo.cdx.json -not -path './target/*' -delete

crates() { LC_ALL=C sort -u; }
cargo tree --locked --package eqo "${features[@]}" --target "$target" --edges normal,build --prefix none |
    awk '{ print $1 " " substr($2, 2) }' | grep -v '^eqo ' | crates >target/sbom/tree
jq -r '.components[] | .name + " " + .version' target/sbom/eqo.cdx.json | crates >target/sbom/listed
if missing=$(LC_ALL=C comm -23 target/sbom/tree target/sbom/listed) && [ -n "$missing" ]; then
    echo "target/sbom/eqo.cdx.json lacks crates of the binary: $missing" >&2
    exit 1
fi
echo "target/sbom/eqo.cdx.json: $(wc -l <target/sbom/listed) crates, among them all $(wc -l <target/sbom/tree) of the binary"
