#!/bin/bash
# Background jobs, wait, signals between processes.
sleep 0.1 & p=$!
wait $p; echo "wait: $?"
(exit 7) & wait $!; echo "wait: $?"
sleep 100 & p=$!
kill $p; wait $p 2>/dev/null; echo "killed: $?"
for i in 1 2 3; do (sleep $((i - 1)).1; exit $i) & done
wait -n; echo "first: $?"
wait; echo "all"
sleep 100 & p=$!
kill -STOP $p; sleep 0.5; awk '{print $3}' /proc/$p/stat
kill -CONT $p; sleep 0.5; awk '{print $3}' /proc/$p/stat
kill -9 $p; wait $p 2>/dev/null; echo "$?"
mkfifo fifo; (echo through the fifo > fifo) & cat fifo; rm fifo; wait
coproc sed -u s/^/got:/; cop=$!; echo hello >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "coproc $line"
eval "exec ${COPROC[1]}>&-"; wait $cop
trap 'echo "term in main"' TERM
(sleep 0.1; kill -TERM $$) &
wait; wait; echo "after the trap"
set -m
sleep 100 & fg_pid=$!
kill $fg_pid; wait $fg_pid 2>/dev/null; echo "job: $?"
timeout 0.2 sleep 10; echo "timeout: $?"
n=0; for i in $(seq 200); do /bin/true && n=$((n + 1)); done; echo "$n runs"
