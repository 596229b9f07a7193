#!/bin/sh
# Resolves pyproject.toml into the pinned requirement files: every platform, Python 3.11 and later, a hash for
# every file, no address of any index. Versions already pinned stay; `make lock UPGRADE=1` takes the newest.
set -eu
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
export UV_PYTHON_DOWNLOADS=never

resolve() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        ${UPGRADE:+--upgrade} "$@" >/dev/null
}

resolve pyproject.toml -o requirements.txt
resolve pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
resolve --group pyproject.toml:bench -c requirements-dev.txt -o requirements-bench.txt
resolve --group pyproject.toml:mutate -c requirements-dev.txt -o requirements-mutate.txt
resolve --group pyproject.toml:uv -o requirements-uv.txt
