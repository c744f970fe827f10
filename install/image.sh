#!/bin/sh
# What the Dockerfile runs: install/image.sh libraries cpu|cuda, then install/image.sh toolkit.
set -eu

here=$(dirname "$0")
python=${PYTHON:-python}
case "${1:-} ${2:-}" in
"libraries cpu")
    index="--extra-index-url https://download.pytorch.org/whl/cpu"
    ;;
"libraries cuda")
    index= # torch of the package index comes with CUDA
    ;;
"toolkit ")
    "$python" -m pip install --no-deps "$here/.."
    exec vision-distillation --version
    ;;
*)
    echo "image.sh: give \`libraries cpu\`, \`libraries cuda\` or \`toolkit\`, not \`$*\`." >&2
    exit 2
    ;;
esac
pins=$(mktemp)
grep -v '^-e' "$here/requirements.txt" >"$pins" # the toolkit itself comes later
# shellcheck disable=SC2086  # words of their own
"$python" -m pip install ${PIP_INSTALL_FLAGS-$index} -r "$pins"
rm "$pins"
