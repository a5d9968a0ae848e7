#!/usr/bin/env bash
# demo_packages.sh DIRECTORY [--required]: what the demo and the transformers connector need, into a
# virtual environment. Without --required only a CPU build of torch is taken, as the usual wheels
# bring gigabytes of GPU libraries; where there is none the connector's tests are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python="$1/bin/python"
torch_version=2.13.0

if "$python" -c 'import accelerate, gguf, torch, transformers' 2>/dev/null; then
    exit 0
fi
pip=("$python" -m pip install --quiet --disable-pip-version-check)
echo "installing torch (CPU) and transformers into $1: about 200 MB to fetch, 1.2 GB on disk"
if ! "${pip[@]}" "torch==$torch_version+cpu" 2>/dev/null; then
    if [ "${2:-}" != --required ]; then
        echo "no CPU build of torch $torch_version here: the connector's tests will be skipped" >&2
        exit 0
    fi
    "${pip[@]}" "torch==$torch_version"
fi
"${pip[@]}" -e '.[demo]'
