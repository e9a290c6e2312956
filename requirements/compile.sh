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
# dask-cuda holds Dask to one release of its own, which is older than ours at times: all other pins are those of all.txt.
others=$(mktemp)
grep -E '^[a-z0-9].*==' requirements/all.txt | sed 's/ *\\$//' | grep -vE '^(dask|distributed)==' > "$others"
uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
  --custom-compile-command requirements/compile.sh --extra gpu --extra cuda -c "$others" pyproject.toml -o requirements/gpu.txt
rm "$others"
compile mlflow cpu mlflow
compile objects cpu objects
compile nodes cpu nodes objects
uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
  --custom-compile-command requirements/compile.sh requirements/peers.in -o requirements/peers.txt  # what `bench search` compares with
