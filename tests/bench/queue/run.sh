#!/usr/bin/env bash
# Installs the other queues and measures all. Runs under `local.py test --durable`, which provides the servers.
# Everything it makes is in the run folder and in cargo's target folder. PEERS names the other queues, separated by commas;
# the arguments go to the program that measures.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make bench-queue\`, which starts the servers it needs}" "${HELPCENTER_RUN:?}"
export SQLX_OFFLINE=true
installed=$HELPCENTER_RUN/bench

# The profile of `make up`, whose dependencies are optimised already, with our own crates optimised like them: what a release
# is made of, without another build of some 400 crates.
build_ours() {
  cargo build --locked --quiet --package tests --bin bench_queue --config profile.dev.opt-level=3 \
    --config profile.dev.package.tests.opt-level=3 --config profile.dev.debug-assertions=false \
    --config profile.dev.overflow-checks=false
}

# A folder of the run folder with a copy of ours, named by its content: a change is a new install.
copied() { # name
  local content
  content=$(cat "$here/$1"/*.* "$here/$1"/.npmrc 2>/dev/null | sha256sum | cut -c1-12)
  echo "$installed/$1-$content"
}

install_bullmq() {
  local folder
  folder=$(copied bullmq)
  if [ ! -d "$folder" ]; then
    mkdir -p "$folder.part"
    cp "$here"/bullmq/*.js* "$here/bullmq/.npmrc" "$folder.part"
    (cd "$folder.part" && npm ci --ignore-scripts --no-audit --no-fund --silent)
    mv "$folder.part" "$folder"
  fi
  peers+=(--peer "bullmq=node $folder/side.js")
}

install_arq() {
  local folder
  folder=$(copied arq)
  if [ ! -d "$folder" ]; then
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
      --no-cache-dir --no-deps --require-hashes --target "$folder.part" --requirement "$here/arq/requirements.txt"
    cp "$here/arq/side.py" "$folder.part"
    mv "$folder.part" "$folder"
  fi
  peers+=(--peer "arq=python3 $folder/side.py")
}

install_cargo() { # name
  cargo build --locked --release --quiet --manifest-path "$here/cargo/Cargo.toml" --target-dir "$target/bench-queue" --bin "$1"
  peers+=(--peer "$1=$target/bench-queue/release/$1")
}

build_ours
target=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
peers=()
for peer in ${PEERS//,/ }; do
  case $peer in
    bullmq | arq) install_"$peer" ;;
    bullmq-official | awa) install_cargo "$peer" ;;
    *) echo "error: $peer is none of bullmq, bullmq-official, arq, awa" >&2 && exit 2 ;;
  esac
done
exec "$target/debug/bench_queue" "${peers[@]}" "$@"
