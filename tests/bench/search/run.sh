#!/usr/bin/env bash
# Builds the program that measures search, optimised, and runs it. Runs under `local.py test --durable`, which provides the
# servers.
set -euo pipefail
cd "$(dirname "$0")/../../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make bench-search\`, which starts the servers it needs}"
export SQLX_OFFLINE=true

# The profile of `make up`, whose dependencies are optimised already, with our own crates optimised like them: what a release
# is made of, without another build of some 400 crates.
cargo build --locked --quiet --workspace --bin bench_search --config profile.dev.opt-level=3 \
  --config profile.dev.package.tests.opt-level=3 --config profile.dev.debug-assertions=false \
  --config profile.dev.overflow-checks=false
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec "$target/debug/bench_search" "$@"
