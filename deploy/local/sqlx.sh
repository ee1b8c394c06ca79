#!/usr/bin/env bash
# Writes .sqlx, the record of every checked query. Runs under `local.py test`, on a database made from migrations/ alone.
# With --check it changes nothing and fails when the committed record is not what the code needs.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make sqlx\`, which starts the servers it needs}"
: "${POSTGRES_BIN:?}" "${HELPCENTER_RUN:?}"

psql() { "$POSTGRES_BIN/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@" "$TEST_DATABASE_OWNER_URL"; }

# With psql, and not with `helpcenter migrate`: that does not compile while .sqlx is outdated.
migrate() {
  local file
  for file in migrations/*.sql; do
    if head -n 1 "$file" | grep -q '^-- no-transaction'; then
      psql --file "$file"
    else
      psql --single-transaction --file "$file"
    fi
  done
}

migrate

before=$(mktemp -d "$HELPCENTER_RUN/sqlx.XXXXXX")
if [ -d .sqlx ]; then mv .sqlx "$before/.sqlx"; fi
restore() {
  rm -rf .sqlx
  if [ -d "$before/.sqlx" ]; then mv "$before/.sqlx" .sqlx; fi
}
trap 'restore; rm -rf "$before"' EXIT # until the new record is complete

mkdir .sqlx
touch shared/src/lib.rs # cargo does not expand macros again in a crate that has not changed
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/.sqlx DATABASE_URL=$TEST_DATABASE_OWNER_URL \
  cargo check --workspace --all-targets --locked

if [ "${1:-}" = --check ]; then
  mkdir -p "$before/.sqlx"
  diff -r "$before/.sqlx" .sqlx || { echo 'error: .sqlx is outdated: run "make sqlx" and commit it.' >&2; exit 1; }
else
  trap 'rm -rf "$before"' EXIT
  echo "$(find .sqlx -name '*.json' | wc -l) queries are recorded in .sqlx."
fi
