# Sourced by the other scripts: finds this repository, a Python and uv, and brings uv to a machine that has none.
#
# Sets `root`, `python` (3.11 or newer) and, unless given, UV_PYTHON; afterwards `uv` is on PATH. POSIX sh.
# shellcheck shell=sh

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 1
unset VIRTUAL_ENV # of some other project
export UV_PYTHON_DOWNLOADS=never

# uv is to trust whom the machine trusts, as pip does: behind a company's proxy there is no other way out.
for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    if [ -s "$store" ]; then export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"; fi
done

# Names on PATH are tried, not trusted: a version manager's may exist and not run, and uv stops at the first of those.
find_python() { # CONDITION NAME...: the first interpreter that runs and whose sys.version_info meets the condition
    condition=$1
    shift
    for name in "$@"; do
        "$name" -c "import sys; v = sys.version_info; sys.exit(not ($condition))" >/dev/null 2>&1 &&
            "$name" -c 'import sys; print(sys.executable)' && return
    done
    return 1
}

bring_uv() {
    home=${XDG_CACHE_HOME:-${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache}/mcp-gateway/uv
    "$home/uv" --version >/dev/null 2>&1 || fetch_uv || exit 3
    export PATH="$home:$PATH"
}

fetch_uv() (
    echo "uv is not installed; fetching a private copy into $home" >&2
    mkdir -p -- "$home" && work=$(mktemp -d "$home/new.XXXXXX") || exit
    trap 'rm -rf -- "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    if ! install_uv >"$work/log" 2>&1; then
        cat "$work/log" >&2
        echo "Could not fetch uv. Install it yourself (https://docs.astral.sh/uv), then try again." >&2
        exit 3
    fi
    # Only the two programs are kept; they need neither the Python nor the folder they came with.
    mv -f -- "$bin/uv" "$bin/uvx" "$home/"
)

# A virtual environment works where pip refuses to touch the system's Python (PEP 668); some Debians ship Python
# without venv, and there pip may still install into a folder.
install_uv() {
    # What the user has set for pip in general does not fit here.
    export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
    if "$python" -I -m venv "$work/venv"; then
        bin=$work/venv/bin
        "$bin/python" -I -m pip install --quiet uv
    else
        bin=$work/target/bin
        "$python" -m pip install --quiet --target "$work/target" uv
    fi
}

python=$(find_python 'v >= (3, 11)' "$root/.venv/bin/python" python3.13 python3.12 python3.11 python3 python) || {
    echo "mcp-gateway needs Python 3.11 or newer, and there is none on PATH." >&2
    exit 3
}
case $python in
"$root/.venv/"*) ;; # an environment that is there already keeps its Python
*) export UV_PYTHON="${UV_PYTHON:-$python}" ;;
esac
uv --version >/dev/null 2>&1 || bring_uv
