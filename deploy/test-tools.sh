#!/bin/sh
# Installs, where it can, the programs that some tests run for real: Prometheus with promtool, Chromium, kcat,
# Node with npm, a Java compiler.
# Debian and Ubuntu with root or sudo without a password get them from their own packages. Anywhere else it says
# what is missing; the tests that want it are then skipped with that reason, and fail where
# FRESHET_TEST_TOOLS=required, as in continuous integration.
set -eu

missing=
for pair in promtool:prometheus chromium:chromium kcat:kcat npm:npm javac:default-jdk-headless; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    root='sudo -n'
else
    root=none
fi
if [ "$root" != none ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing for the tests:$missing ..." >&2
    $root apt-get update -qq >&2 || true
    # Debian starts a service of every server that it installs; the tests start their own.
    # shellcheck disable=SC2086
    RUNLEVEL=1 $root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
        echo "apt-get could not install:$missing" >&2
    exit 0
fi
echo "Not installed:$missing. The tests that run them are skipped (Debian: apt install$missing)." >&2
