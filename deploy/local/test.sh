#!/usr/bin/env bash
# The whole test suite. Runs under `local.py test`, which provides PostgreSQL, Valkey and the embedding model.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${TEST_DATABASE_OWNER_URL:?run this through \`make test\`, which starts the servers it needs}"
export SQLX_OFFLINE=true

step() { printf '\n== %s\n' "$*"; }

step 'build the programs (the tests start them)'
cargo build --workspace --bins --locked

step 'Prometheus, and the dashboards'
if [ -z "${PROMETHEUS_BIN:-}" ]; then
  PROMETHEUS_BIN=$(python3 deploy/local/prometheus.py) || [ $? = 3 ] # there is none; the tests that need it say so
fi
export PROMETHEUS_BIN
python3 deploy/local/dashboards.py

step 'A language model'
if [ -z "${LLM_PACKAGES:-}" ]; then
  LLM_PACKAGES=$(python3 deploy/local/llm.py) || [ $? = 3 ] # there is none; the test that needs it says so
fi
export LLM_PACKAGES

step 'cargo test'
cargo test --workspace --locked

step 'torture: queue and scheduler under faults (HELPCENTER_SEED repeats those of another run)'
deploy/local/built.sh torture --duration 120 ${HELPCENTER_SEED:+--seed "$HELPCENTER_SEED"}

step 'make up, and its pages in a browser'
deploy/local/browser.sh
