#!/usr/bin/env bash
# Every target, one after the other: 1,000,000 cases or 30 minutes each. Arguments go to tools.fuzz.run,
# as in `tools/fuzz/run_all.sh --minutes 5`. PYTHON is the interpreter (atheris is used where it has it);
# TARGETS leaves some out.
set -u
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1 PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
status=0
for target in ${TARGETS:-annotations datasets images models store evidence http}; do
    nice -n 19 "${PYTHON:-python3}" -m tools.fuzz.run "$target" "$@" || status=1
done
exit $status
