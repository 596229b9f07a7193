#!/bin/sh
# Builds livekit-server from its published source into .livekit/, for development and tests; does nothing when it is
# there already. Needs Go, 1 GB of disk while it builds and 50 MB afterwards; two processors take about three minutes.
# GOCACHE and GOMODCACHE are taken as they are set; without them, what was fetched and compiled is removed at the end.
set -eu
cd "$(dirname "$0")/.."

version=1.13.5
needs="1 26"
binary=.livekit/livekit-server

fail() {
    printf 'livekit: %s\n' "$@" >&2
    cat >&2 <<'EOF'
livekit: or install livekit-server the official way; the tests take it from PATH too:
  macOS      brew install livekit
  Linux      curl -sSL https://get.livekit.io | bash
  container  docker run --rm --network host livekit/livekit-server --dev   (to develop with, not for the tests)
EOF
    exit 1
}

if "$binary" --version 2>/dev/null | grep -qx "livekit-server version $version"; then
    exit 0
fi

command -v go >/dev/null 2>&1 || fail "Go is not on PATH; install Go ${needs% *}.${needs#* } or newer (https://go.dev/dl)"
found=$(GOTOOLCHAIN=local go env GOVERSION)
printf '%s\n' "$found" | awk -F '[go.]+' -v needs="$needs" '
    { split(needs, need, " "); exit !($2 > need[1] || ($2 == need[1] && $3 + 0 >= need[2])) }' ||
    fail "this is $found; livekit-server $version needs Go ${needs% *}.${needs#* } or newer (https://go.dev/dl)"

own=
if [ -z "${GOCACHE:-}" ] || [ -z "${GOMODCACHE:-}" ]; then
    own=$PWD/.cache/livekit
fi
export GOCACHE="${GOCACHE:-$own/build}" GOMODCACHE="${GOMODCACHE:-$own/modules}"
mkdir -p .livekit "$GOCACHE" "$GOMODCACHE"
GOBIN=$(mktemp -d "$PWD/.livekit/build.XXXXXX")
export GOBIN
# Not a toolchain of Go's own choice, and caches that can be removed.
export GOTOOLCHAIN=local GOFLAGS="${GOFLAGS:-} -trimpath -modcacherw" CGO_ENABLED=0
trap 'rm -rf "$GOBIN" ${own:+"$own"}' EXIT
trap 'exit 130' INT TERM

echo "livekit: building livekit-server $version with $found, once; about 3 minutes on two processors"
log=$GOBIN/log
{
    status=0
    go install -v -ldflags "-s -w" "github.com/livekit/livekit-server/cmd/server@v$version" 2>&1 || status=$?
    echo "status=$status"
} | tee "$log" | awk '
    /^go: downloading/ { if (++fetched % 25 == 0) print "livekit: fetched " fetched " modules"; next }
    /^[a-z0-9.\/_-]+$/ { if (++built % 150 == 0) print "livekit: compiled " built " packages of about 900"; fflush() }'

if ! grep -qx "status=0" "$log"; then
    grep -v '^go: downloading\|^status=\|^[a-z0-9./_-]*$' "$log" | tail -n 15 >&2
    fail "go could not build it; the lines above say why"
fi
mv "$GOBIN/server" "$binary"
echo "livekit: $("$binary" --version), $(du -m "$binary" | cut -f1) MB, in $binary"
