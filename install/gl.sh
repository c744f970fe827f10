#!/bin/sh
# Makes sure that MuJoCo can render without a display. Usage: install/gl.sh PYTHON
# On Debian and Ubuntu it installs what is missing if it is root or sudo asks no password.
set -eu

python=$1
packages="libegl1 libgl1-mesa-dri libgl1"

if [ "$(uname -s)" = Linux ]; then
    export MUJOCO_GL="${MUJOCO_GL:-egl}"
fi

renders() {
    "$python" -c 'import mujoco; mujoco.GLContext(16, 16).make_current()' 2>&1
}

if renders >/dev/null; then
    exit 0
fi

if ! command -v apt-get >/dev/null; then
    as_root=none
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    as_root=none
fi

if [ "$as_root" != none ]; then
    echo "MuJoCo cannot render here. Installing $packages."
    # shellcheck disable=SC2086  # words on purpose
    if $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y $packages && renders >/dev/null; then
        exit 0
    fi
    renders | tail -n 1 >&2
fi
echo "MuJoCo cannot render with MUJOCO_GL=${MUJOCO_GL:-}. As root:" \
    "apt-get update && apt-get install -y $packages" >&2
exit 1
