#!/usr/bin/env bash
# Every static check, cheapest first. Missing tools are installed into the run folder, in pinned versions.
# SQLX_CHECK=1 also compares .sqlx with the queries in the code, which compiles the workspace against a database.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=deploy/local
tools=${HELPCENTER_RUN:-/var/tmp/helpcenter-$(id -u)}/tools
export SQLX_OFFLINE=true
unset DATABASE_URL # or the checked queries would be compared with that database

step() { printf '\n== %s\n' "$*"; }

# Tools lie in folders named by version, so that a new pin here is a new install.
cargo_tool() { # name, version
  local root=$tools/$1-${2#\~}
  if [ ! -x "$root/bin/$1" ]; then
    step "install $1 $2 (only this once)"
    CARGO_TARGET_DIR=$root/build cargo install --locked --root "$root" --version "$2" "$1"
    rm -rf "$root/build"
  fi
  PATH=$root/bin:$PATH
}

typos_tool() {
  local root
  root=$tools/typos-$(sed -n 's/^typos==\([0-9.]*\).*/\1/p' "$here/lint-requirements.txt")
  if [ ! -x "$root/bin/typos" ]; then
    step 'install typos (only this once)'
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
      --only-binary :all: --require-hashes --target "$root" --requirement "$here/lint-requirements.txt"
  fi
  PATH=$root/bin:$PATH
}

step 'cargo fmt'
cargo fmt --all --check

typos_tool
step 'typos'
typos

cargo_tool cargo-machete 0.9.1
step 'cargo machete (unused dependencies)'
cargo machete

cargo_tool cargo-deny '~0.20'
step 'cargo deny (licences, bans, sources)'
cargo deny --locked check licenses bans sources

step 'cargo clippy'
cargo clippy --workspace --all-targets --locked -- -D warnings

step 'styles of the pages'
(
  cd api/web
  [ -d node_modules ] || npm ci --no-audit --no-fund --silent
  npm run --silent lint
)

if [ "${SQLX_CHECK:-}" = 1 ]; then
  step 'checked queries (.sqlx)'
  python3 "$here/local.py" test -- "$here/sqlx.sh" --check
fi

printf '\nAll checks passed.\n'
