#!/usr/bin/env bash
# Builds the programs, optimised, and measures how soon the assistant answers. Runs under `local.py test --durable`, which
# provides the servers.
set -euo pipefail
cd "$(dirname "$0")/../../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make bench-chat\`, which starts the servers it needs}"
export SQLX_OFFLINE=true
ulimit -n "$(ulimit -Hn)" # a file for each socket

# As `make bench-search` builds: the profile of `make up`, with our own crates optimised like their dependencies.
cargo build --locked --quiet --workspace --bins --config profile.dev.opt-level=3 \
  --config profile.dev.package.tests.opt-level=3 --config profile.dev.debug-assertions=false \
  --config profile.dev.overflow-checks=false
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec "$target/debug/bench_chat" "$@"
