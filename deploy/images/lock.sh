#!/bin/sh
# Writes the lists of what the images install, with the hashes of every file: `make image-locks`.
# The versions are those of deploy/constraints.txt; what PyTorch brings for CUDA is pinned by PyTorch itself.
# For Linux on x86-64 and on 64-bit ARM: the hashes are of all files of a version.
set -eu
cd "$(dirname "$0")/../.."

python3 -m venv build/uv
build/uv/bin/pip install --quiet --disable-pip-version-check "$(grep "^uv==" deploy/images/build.in)"

lock() {
    file=$1
    shift
    build/uv/bin/uv pip compile --quiet --constraint deploy/constraints.txt --generate-hashes \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --only-binary :all: \
        --no-header --no-annotate --output-file "$file" "$@"
}

lock deploy/images/build.txt deploy/images/build.in
lock deploy/images/stream.txt pyproject.toml --extra trace
# torch is of another index where there is no GPU, and brings CUDA's libraries where there is one.
lock build/embed-all.txt pyproject.toml --extra trace --extra embed
awk -v cuda=deploy/images/cuda.txt -v rest=deploy/images/embed.txt '
    BEGIN { printf "" > cuda; printf "" > rest }
    /^[a-z]/ { to = /^(torch|triton|cuda-|nvidia-)/ && !/^nvidia-ml-py/ ? cuda : rest }
    { print > to }
' build/embed-all.txt

.venv/bin/python deploy/images/notices.py table > build/notices.md
mv build/notices.md deploy/images/THIRD-PARTY-NOTICES.md
