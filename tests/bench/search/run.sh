#!/usr/bin/env bash
# Builds the program that measures search, optimised, and runs it. Runs under `local.py test --durable`, which provides the
# servers. With `--export FOLDER`, what it wrote there is searched by the engines that PEERS names, separated by commas.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make bench-search\`, which starts the servers it needs}" "${HELPCENTER_RUN:?}"
export SQLX_OFFLINE=true

# The profile of `make up`, whose dependencies are optimised already, with our own crates optimised like them: what a release
# is made of, without another build of some 400 crates.
cargo build --locked --quiet --workspace --bin bench_search --config profile.dev.opt-level=3 \
  --config profile.dev.package.tests.opt-level=3 --config profile.dev.debug-assertions=false \
  --config profile.dev.overflow-checks=false
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$target/debug/bench_search" "$@"

[[ -n ${PEERS:-} && " $* " == *" --export"[\ =]* ]] || exit 0
# A folder of the run folder, named by the versions: a change is a new install.
installed=$HELPCENTER_RUN/bench/search-$(sha256sum <"$here/requirements.txt" | cut -c1-12)
if [ ! -d "$installed" ]; then
  rm -rf "$installed.part"
  PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
    --no-cache-dir --no-deps --only-binary :all: --require-hashes --target "$installed.part" --requirement "$here/requirements.txt"
  mv "$installed.part" "$installed"
fi
PYTHONPATH=$installed exec python3 "$here/peers.py" --engines "$PEERS" "$@"
