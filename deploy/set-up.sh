#!/bin/sh
# Makes the virtual environment that `make` uses, in two parts: what the demo needs, and the rest that the tests need.
# Usage: set-up.sh VENV demo|all. PYTHON names the interpreter where the environment is to be made.
# What an interrupted set-up has installed or fetched is used by the next.
set -eu

venv=$1
part=$2
project=$(pwd)
constraints=deploy/constraints.txt
uv_pin=$(grep '^uv==' "$constraints")
# 3.14 comes late: gensim, which trains item2vec, is not there for it yet.
interpreters=${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}
to_fetch=3.13

# To standard error, so that what a command prints after the set-up can be piped.
say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'set-up: %s\n' "$@" >&2
    exit 1
}

# An interpreter counts when it runs and is neither too old nor too new: a version manager's stub may not run.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

find_python() {
    for candidate in $interpreters; do
        if fits "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
pip_install() { python=$1 && shift && "$python" -m pip install "$@" >&2; }

# For what needs uv before $venv is there: the one on the PATH, or one that any Python's pip fetches.
find_uv() {
    command -v uv && return
    for candidate in $interpreters; do
        "$candidate" -m pip --version >/dev/null 2>&1 || continue
        pip_install "$candidate" --quiet --only-binary :all: --target build/uv --upgrade "$uv_pin" || continue
        printf '%s\n' build/uv/bin/uv
        return
    done
}

make_venv() {
    python=$(find_python)
    [ -n "$python" ] || [ -z "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is no Python 3.11 to 3.14."
    if [ -n "$python" ] && "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "$venv"
        return
    fi
    uv=$(find_uv)
    if [ -n "$python" ]; then
        [ -n "$uv" ] || fail "$python has no venv module, and there is no uv to do without." \
            "On Debian and Ubuntu: apt install python3-venv"
        "$uv" venv --quiet --seed --python "$python" "$venv"
        return
    fi
    none="no Python 3.11 to 3.14 (tried: $interpreters)"
    install="Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13)"
    [ -n "$uv" ] ||
        fail "$none, and no uv, which would fetch one." \
            "$install, or name it: make PYTHON=/path/to/python3.13; or install uv: https://docs.astral.sh/uv/"
    say "There is $none; uv fetches Python $to_fetch, some 30 MB."
    "$uv" venv --seed --managed-python --python "$to_fetch" "$venv" ||
        fail "uv could not fetch Python $to_fetch; its message is above." \
            "$install, or name it: make PYTHON=/path/to/python3.13;" \
            "or name a mirror of uv's Pythons: UV_PYTHON_INSTALL_MIRROR."
}

if [ ! -e "$venv" ]; then
    make_venv
    say "Made $venv with $("$venv/bin/python" --version)"
fi
fits "$venv/bin/python" ||
    fail "$venv is there, but has no working Python 3.11 to 3.14. Remove it (make clean) and try again."
# An interrupted set-up may have left it without.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >&2

# uv installs several times as fast as pip, which fetches it, and shows how far it is.
uv=$venv/bin/uv
if [ "$("$uv" --version 2>/dev/null | cut -d ' ' -f 2)" != "${uv_pin#uv==}" ]; then
    pip_install "$venv/bin/python" --quiet --only-binary :all: "$uv_pin" || {
        say "uv could not be fetched: pip does without, more slowly."
        uv=
    }
fi

# uv knows nothing of pip's settings.
pip_setting() { "$venv/bin/python" -m pip config list | sed -n "s/^[^=]*[.]$1='\(.*\)'\$/\1/p" | tail -n 1; }
if [ -n "$uv" ]; then
    UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$(pip_setting index-url)}
    UV_INDEX=${UV_INDEX:-$(pip_setting extra-index-url)}
    UV_FIND_LINKS=${UV_FIND_LINKS:-$(pip_setting find-links)}
    SSL_CERT_FILE=${SSL_CERT_FILE:-$(pip_setting cert)}
    for name in UV_DEFAULT_INDEX UV_INDEX UV_FIND_LINKS SSL_CERT_FILE; do
        eval "[ -z \"\$$name\" ] || export $name"
    done
    # As pip does: a company's proxy may have a certificate that only the system knows.
    export UV_SYSTEM_CERTS=true UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
fi

# PyPI's torch for Linux needs CUDA's libraries, several gigabytes, even where there is no GPU; PyTorch's own index
# has one that does not.
torch=
if [ -n "$uv" ] && [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 &&
    "$venv/bin/python" -c 'import urllib.request as r; r.urlopen("https://download.pytorch.org/whl/cpu/torch/", timeout=5)' \
        2>/dev/null; then
    torch='--torch-backend cpu'
fi

extra_options() { printf -- '--extra %s ' "$@"; }

# $(fetched_mb EXTRA ...): what an empty cache would have to fetch for them. A package's first file is the one taken,
# its source only where it has no wheel.
fetched_mb() {
    # shellcheck disable=SC2046,SC2086
    "$uv" pip compile --quiet --no-header --format pylock.toml --python "$venv/bin/python" $torch \
        --constraints "$constraints" $(extra_options "$@") pyproject.toml |
        awk '/^\[\[packages\]\]/ { total += size; size = 0; wheel = 0 }
             !wheel && match($0, /size = [0-9]+/) { size = substr($0, RSTART + 7, RLENGTH - 7); wheel = /\.whl"/ }
             END { if (total += size) printf "%d", total / 1000000 }'
}

# install EXTRA ...: by uv, else by pip, which may know a proxy or a password that uv does not. uv builds the package
# whenever it is named, so that the second part names only what it requires. Unlike pip, it leaves the bytecode to
# the first import, and where that may not be kept every process would compile all of it.
install() {
    if [ "$part" = demo ]; then what="--editable .[$(list "$@")]"
    else what="--requirement pyproject.toml $(extra_options "$@")"; fi
    if [ -n "$uv" ]; then
        # shellcheck disable=SC2086
        "$uv" pip install --compile-bytecode --python "$venv/bin/python" $torch --constraints "$constraints" \
            --build-constraints "$constraints" $what >&2 && return
        say "uv could not install the packages: pip tries."
    fi
    pip_install "$venv/bin/python" --constraint "$constraints" --editable ".[$(list "$@")]"
}
list() { printf '%s' "$*" | tr ' ' ','; }

demo='embed java'
case $part in demo) extras=$demo ;; *) extras="$demo train trace dev" ;; esac

if [ "$part" = demo ]; then
    # shellcheck disable=SC2086
    mb=$([ -z "$uv" ] || fetched_mb $demo)
    if [ -n "$torch" ]; then needed_gb=3 what='without CUDA, for which there is no GPU'
    elif [ "$(uname -s)" = Linux ]; then needed_gb=8 what="most of it CUDA's libraries, which PyPI's torch needs"
    else needed_gb=3 what='most of it torch'; fi
    say "To fetch, unless it is cached: Python packages, ${mb:-up to 3000} MB, $what; Apache Kafka, 45 MB."
    free_gb=$(df -Pk "$project" | awk 'NR == 2 { print int($4 / 1000000) }')
    [ -e "$venv/.demo" ] || [ "$free_gb" -ge "$needed_gb" ] ||
        fail "$free_gb GB free in $project; the packages need $needed_gb GB."
else
    say "Adding what the tests need ..."
fi

# One resolver run for all extras: faust-streaming and huggingface-hub each accept few versions of click.
# shellcheck disable=SC2086
install $extras ||
    fail "the packages could not be installed; the message is above." \
        "Behind a proxy or a mirror, set https_proxy or PIP_INDEX_URL and try again."

if [ "$part" = all ]; then
    # Only `freshet bench ann` and its tests want these, and two of them need a C++ compiler.
    # shellcheck disable=SC2086
    install $extras ann ||
        say "Annoy, hnswlib or FAISS could not be installed (a C++ compiler is needed): \`freshet bench ann\` goes" \
            "without them. All else works."

    # mypy and editors read the three folders as the sub-packages of one namespace through this link.
    mkdir -p "$venv/src"
    ln -sfn ../.. "$venv/src/freshet"
    touch "$venv/.set-up"
    exit
fi

"$venv/bin/python" -c '
import sys
from freshet.models.kernels import COMPILED
if not COMPILED:
    print("No C compiler, or no Python headers: ranking will take three times as long. On Debian and Ubuntu:",
          "apt install gcc python3-dev; then touch setup.py and try again.", file=sys.stderr)
from freshet.workers.errors import WorkerError
from freshet.workers.processes.kafka.java_runtime import find_java
from freshet.workers.processes.kafka.jars import ensure_jars, kafka_version
try:
    java = find_java()
    folder = ensure_jars()
except WorkerError as error:
    sys.exit(f"set-up: {error}")
print(f"Apache Kafka {kafka_version()} in {folder}, Java {java.version} from {java.source}", file=sys.stderr)
'
touch "$venv/.demo"
