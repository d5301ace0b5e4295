#!/usr/bin/env bash
# All that is to be known of a GPU, in at most nine minutes: bash benchmarks/gpu.sh [FOLDER] [OPTIONS]
# Needs the environment of `make setup` with JAX for the GPU (the extra `cuda`), and MD17 in a folder
# named by SO3KRATES_DATA for the trainings. What is measured stands in FOLDER after each part.
set -eu
folder=${1:-build/gpu}
[ $# -gt 0 ] && shift
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
exec "$python" -m benchmarks.gpu --folder "$folder" --minutes 9 "$@"
