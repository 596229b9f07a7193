#!/bin/sh
# Builds .venv from the pinned, hashed requirement files, then installs the project itself, editable.
# Needs Python >= 3.11 and nothing else: uv is used when the machine has it, else fetched by pip, else pip does the work.
# Works as root and as a user, also where HOME is missing, empty or not writable.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "install: $*" >&2
    exit 1
}

find_python() {
    # A Python that was named is taken or refused, never replaced.
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    fail "${PYTHON:-PATH} has no Python >= 3.11; install one, or name it: make install PYTHON=python3.12"
}

if [ ! -w "${HOME:-/nonexistent}" ]; then
    export UV_CACHE_DIR="${UV_CACHE_DIR:-$PWD/.cache/uv}"
    export PIP_CACHE_DIR="${PIP_CACHE_DIR:-$PWD/.cache/pip}"
fi
# Without these, uv may fetch an interpreter of its own, or warn when cache and project lie on two file systems.
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE="${UV_LINK_MODE:-copy}"
export PIP_DISABLE_PIP_VERSION_CHECK=1
# A company's or a mirror's certificate is known to the system, not to the list that uv carries.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-true}"
fi

# A .venv whose interpreter was upgraded away, or was built by a too old Python, starts again.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    rm -rf .venv
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" .venv
    else
        "$python" -m venv .venv ||
            fail "$python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"
    fi
fi

if command -v uv >/dev/null; then
    uv=uv
elif [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --require-hashes -r requirements-uv.txt; then
    uv=.venv/bin/uv
else
    echo "install: uv is not to be had here, going on with pip (slower)" >&2
    uv=
fi

add() {
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --python .venv/bin/python "$@" && return
        echo "install: uv failed, trying again with pip (slower)" >&2
    fi
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet "$@"
}

for requirements in "$@"; do
    add --require-hashes -r "$requirements"
done
add --no-deps --no-build-isolation --editable .
