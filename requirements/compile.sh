#!/usr/bin/env bash
# Rewrites the pins from pyproject.toml; needs `uv` on the PATH. Run it only to move versions.
# all.txt is solved first and the others are held to it, so that one environment can take any of them.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { # compile OUT EXTRA...
  local out=$1; shift
  local extras=(); for e in "$@"; do extras+=(--extra "$e"); done
  local held=(); [ "$out" = all ] || held=(-c requirements/all.txt)
  uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
    --custom-compile-command requirements/compile.sh "${extras[@]}" "${held[@]}" pyproject.toml -o "requirements/$out.txt"
}
compile all birdnet perch engines hub cpu mlflow objects nodes build dev
compile base cpu
compile birdnet birdnet cpu build   # what `make setup` installs
compile perch perch cpu
compile engines engines hub cpu
compile gpu gpu
compile mlflow cpu mlflow
compile objects cpu objects
compile nodes cpu nodes objects
uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
  --custom-compile-command requirements/compile.sh requirements/peers.in -o requirements/peers.txt  # what `bench search` compares with
