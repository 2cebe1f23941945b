#!/bin/sh
# Makes the virtual environment that `make` uses: checks what it needs, installs, fetches Kafka's jars.
# Usage: set-up.sh VENV. PYTHON names the interpreter where the environment is to be made.
set -eu

venv=$1
project=$(pwd)
# torch with CUDA's libraries, as PyPI has it for Linux, is most of it.
needed_gb=8

# To standard error, so that what a command prints after the set-up can be piped.
say() { printf '%s\n' "$*" >&2; }
fail() {
    printf 'set-up: %s\n' "$@" >&2
    exit 1
}

# An interpreter counts when it runs and is new enough: a version manager's stub may do neither.
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3.12 python3.11 python3 python}; do
        if new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer (tried: ${PYTHON:-python3.12 python3.11 python3 python})." \
        "Install one, or name it: make PYTHON=/path/to/python3.12"
}

if [ -e "$venv" ]; then
    new_enough "$venv/bin/python" ||
        fail "$venv is there, but has no working Python 3.11 or newer. Remove it (make clean) and try again."
else
    python=$(find_python)
    free_gb=$(df -Pk "$project" | awk 'NR == 2 { print int($4 / 1000000) }')
    [ "$free_gb" -ge "$needed_gb" ] ||
        fail "$free_gb GB free in $project; the packages (torch is large) need $needed_gb GB."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module. On Debian and Ubuntu: apt install python3-venv"
    say "Making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi

say "Installing packages: torch is large, so that the first time takes some minutes ..."
# One resolver run for all extras: faust-streaming and huggingface-hub each accept few versions of click.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint deploy/constraints.txt --editable '.[embed,train,java,trace,dev]' ||
    fail "pip could not install the packages; its message is above." \
        "Behind a proxy or a mirror, set https_proxy or PIP_INDEX_URL and try again."

# Only `freshet bench ann` and its tests want these, and two of them need a C++ compiler.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint deploy/constraints.txt --editable '.[embed,train,java,trace,dev,ann]' ||
    say "Annoy, hnswlib or FAISS could not be installed (a C++ compiler is needed): \`freshet bench ann\` goes" \
        "without them. All else works."

# mypy and editors read the three folders as the sub-packages of one namespace through this link.
mkdir -p "$venv/src"
ln -sfn ../.. "$venv/src/freshet"

"$venv/bin/python" -c '
import sys
from freshet.models.kernels import COMPILED
if not COMPILED:
    print("No C compiler, or no Python headers: ranking will take three times as long. On Debian and Ubuntu:",
          "apt install gcc python3-dev; then touch setup.py and try again.", file=sys.stderr)
from freshet.workers.errors import WorkerError
from freshet.workers.java_runtime import find_java
from freshet.workers.kafka_jars import ensure_jars, kafka_version
try:
    java = find_java()
    folder = ensure_jars()
except WorkerError as error:
    sys.exit(f"set-up: {error}")
print(f"Apache Kafka {kafka_version()} in {folder}, Java {java.version} from {java.source}", file=sys.stderr)
'
touch "$venv/.set-up"
