#!/bin/sh
# Prints a Python that is new enough and can make virtual environments: $1 if it is given, else the
# first found. Says what to install if there is none.
set -eu

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
can_make_venv='import ensurepip, venv'

found=
for candidate in ${1:-python3.11 python3.12 python3.13 python3.14 python3}; do
    # Run it: a version manager's shim can be on the path for a version that is not active.
    "$candidate" -c "$new_enough" >/dev/null 2>&1 || continue
    found=$candidate
    if "$candidate" -c "$can_make_venv" >/dev/null 2>&1; then
        echo "$candidate"
        exit 0
    fi
done

if [ -n "$found" ]; then
    echo "$found has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2
elif [ -n "${1:-}" ]; then
    echo "PYTHON=$1 is not a Python 3.11 or newer." >&2
else
    echo "No Python 3.11 or newer was found. Install one (Debian or Ubuntu:" \
        "apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python3" >&2
fi
exit 1
