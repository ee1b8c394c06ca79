#!/usr/bin/env bash
# Brings up a whole help center in a folder of its own, twice, as the README says, and walks through its pages in a browser.
# Without Chromium, and without the rights to install it, the browser's part is skipped, loudly.
set -euo pipefail
cd "$(dirname "$0")/../.."

local_py() { python3 deploy/local/local.py "$@"; }

run=$(mktemp -d /var/tmp/helpcenter-up.XXXXXX)
chmod 755 "$run" # as root, PostgreSQL runs as another user, who must get in
export HELPCENTER_RUN=$run
unset DATABASE_URL REDIS_URL DATABASE_OWNER_URL
trap 'local_py down >/dev/null 2>&1 || true; rm -rf "$run"' EXIT

local_py up >"$run/up.log" 2>&1 || { cat "$run/up.log"; exit 1; }
started=$SECONDS
local_py up >"$run/again.log" 2>&1 || { cat "$run/again.log"; exit 1; }
echo "the second \`make up\` took $((SECONDS - started)) s"
grep -q '0 created' "$run/again.log" || { echo 'the second import changed something:'; cat "$run/again.log"; exit 1; }

# shellcheck disable=SC1091 # written by `up`
. "$run/demo.env"
found=$(curl -sf "$HELPCENTER_URL/api/v2/help-center/search/" -H "Authorization: Bearer $HELPCENTER_USER_TOKEN" \
  -H 'Content-Type: application/json' -d '{"query": "how do I import a folder of Markdown"}')
case $found in
  *'import-a-folder'*) echo 'a search over HTTP finds the article' ;;
  *) echo "a search did not find the article: $found"; exit 1 ;;
esac

chromium=${CHROMIUM_PATH:-/usr/bin/chromium}
if [ ! -x "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null || true
fi
cd api/web
[ -d node_modules ] || npm ci --no-audit --no-fund --silent
HELPCENTER_DEMO_EMAIL=admin@demo.example
HELPCENTER_DEMO_PASSWORD=$(awk '$1 == "admin@demo.example" { print $2 }' "$run/up.log")
export HELPCENTER_URL HELPCENTER_DEMO_EMAIL HELPCENTER_DEMO_PASSWORD CHROMIUM_PATH="$chromium"
npm test
