#!/usr/bin/env bash
# Run all targets one after the other, for 1,000,000 cases or 30 minutes each. Arguments are passed to
# tools.fuzz.run, for example `tools/fuzz/run_all.sh --minutes 5`. Environment variables: PYTHON is the
# interpreter, and TARGETS are the targets to run.
set -u
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
status=0
for target in ${TARGETS:-annotations datasets images models store evidence http}; do
    nice -n 19 "${PYTHON:-python3}" -m tools.fuzz.run "$target" "$@" || status=1
done
exit $status
