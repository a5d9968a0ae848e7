#!/usr/bin/env bash
# queue_packages.sh DIRECTORY: libraries whose own workers the tests run on Hotplate, each set in an
# environment of its own, as arq wants an older redis-py than the others: `python`, `arq`, `node`.
# About 100 MB to fetch. What is there already is kept while the lists are the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
lists=tests/tools/queue_packages
directory="$1"

wanted="$(cat tests/tools/queue_packages.sh "$lists"/*)"
if [ "$wanted" = "$(cat "$directory/installed" 2>/dev/null)" ]; then
    exit 0
fi
echo "installing libraries for task queues into $directory"
rm -rf "$directory"
mkdir -p "$directory/node"

# environment NAME LIST: a virtual environment. Only what is used gets compiled, when it is used.
environment() {
    .venv/bin/python -m venv "$directory/$1"
    install "$1" -r "$lists/$2.txt"
}
install() {
    "$directory/$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "${@:2}"
}

# langchain-community's chat histories need a tenth of what it depends on
{ environment python python && install python --no-deps -r "$lists/alone.txt"; } &
python=$!
{ environment arq arq; } &
arq=$!
cp "$lists/package.json" "$directory/node/"
(cd "$directory/node" && npm install --silent --no-audit --no-fund) >/dev/null
wait "$arq"
wait "$python"
echo "$wanted" >"$directory/installed"
