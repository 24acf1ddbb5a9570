#!/usr/bin/env bash
# Licences, bans and sources of every dependency by cargo-deny (deny.toml), and the RustSec advisories where GitHub can be reached.
# cargo-deny is built into target/tools once, some minutes; where that can't be, this says so and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=0.20.2

deny="$(command -v cargo-deny || echo target/tools/bin/cargo-deny)"
if ! "$deny" --version >/dev/null 2>&1; then
    if ! cargo install cargo-deny --version "$VERSION" --locked --quiet --root target/tools; then
        echo "skipped: cargo-deny isn't here and can't be installed" >&2
        exit 0
    fi
fi
"$deny" --locked check licenses bans sources

if timeout 60 git ls-remote https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
    "$deny" --locked check advisories
else
    echo "skipped: the RustSec database can't be reached; run \`ci/deny.sh\` where github.com can" >&2
fi
