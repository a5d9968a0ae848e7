#!/usr/bin/env bash
# Install the programs that tests and benchmarks run: Redis and its tools, and Node for ioredis.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/as_root.sh"

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
{ command -v redis-cli && command -v redis-benchmark; } >/dev/null || missing+=(redis-tools)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
[ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
