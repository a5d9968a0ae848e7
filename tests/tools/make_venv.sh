#!/usr/bin/env bash
# make_venv.sh DIRECTORY: a virtual environment with Hotplate (editable) and its development tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/tools/as_root.sh
directory="$1"

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    echo "missing: Python 3.11 or newer (set PYTHON to its path)" >&2
    return 1
}

if ! is_new_enough "$directory/bin/python"; then
    python="$(find_python)"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
        install_packages "python$version-venv"
    fi
    rm -rf "$directory"
    "$python" -m venv "$directory"
fi
if ! "$directory/bin/python" -m pip --version >/dev/null 2>&1; then
    "$directory/bin/python" -m ensurepip >/dev/null
fi
echo "installing Hotplate and its development tools into $directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'
