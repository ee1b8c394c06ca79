#!/usr/bin/env bash
# Builds all programs and runs the one that is named, with the arguments after it. All of them, as `make up` and `make test` do:
# built alone, it would want some dependencies with other features, and compile most of them once more.
set -euo pipefail
cd "$(dirname "$0")/../.."

export SQLX_OFFLINE=true
cargo build --workspace --bins --locked --quiet
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec "$target/debug/$1" "${@:2}"
