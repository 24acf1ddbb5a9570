#!/bin/sh
# Cargo's RUSTC_WRAPPER in ci/reproducible.sh: rustc with the options of $EQO_REMAP, which Cargo doesn't see and so can't hash.
# Split at spaces: a folder's name can't contain one.
exec "$@" $EQO_REMAP
