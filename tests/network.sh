#!/usr/bin/env bash
# Is `--network` right? The same private inference twice, as two processes:
#   tbf   in two network namespaces, joined by a veth pair whose ends the kernel's token bucket filter slows down;
#   link  over loopback with `--network RATE,0`, which does it in the processes.
# Prints seconds of both, the best of REPEATS, and their ratio. Needs root, `ip` and `tc`; says so and ends well where
# one of them is missing. Leaves nothing behind. There is no delay: these kernels have no netem.
#
#   tests/network.sh [CHECKPOINT IMAGE...]     default: what `eqo demo` left in runs/demo
#   RATE=40 REPEATS=3 EQO_BINARY=target/release/eqo
set -euo pipefail
cd "$(dirname "$0")/.."

rate=${RATE:-40} # MB/s, a whole number
repeats=${REPEATS:-3}
eqo=${EQO_BINARY:-target/release/eqo}
if [ $# -gt 0 ]; then checkpoint=$1 && shift && images=("$@"); else
    checkpoint=runs/demo/model.safetensors
    images=(runs/demo/images/*.png)
fi

skip() { echo "skipped: $*" && exit 0; }
fail() { echo "tests/network.sh: $*" >&2 && exit 1; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
for tool in ip tc; do command -v "$tool" > /dev/null || skip "no \`$tool\` here (package iproute2)"; done
[ -x "$eqo" ] || fail "no binary $eqo; run cargo build --release, or set EQO_BINARY"
for file in "$checkpoint" "${images[@]}"; do [ -f "$file" ] || fail "no $file; run \`eqo demo\`, or name others"; done

work=$(mktemp -d)
a=eqo-a-$$ b=eqo-b-$$ server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    # Deleting a namespace deletes its end of the pair, and that the other end.
    ip netns delete $a 2> /dev/null || true
    ip netns delete $b 2> /dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

ip netns add $a 2> /dev/null || skip "this kernel or container allows no network namespaces"
ip netns add $b
ip link add eqo0 netns $a type veth peer name eqo0 netns $b 2> /dev/null || skip "no veth pairs here"
ip -n $a address add 10.99.0.1/24 dev eqo0
ip -n $b address add 10.99.0.2/24 dev eqo0
for space in $a $b; do
    ip -n $space link set eqo0 up
    # A small bucket: what it holds leaves at once after every pause, and a protocol with many rounds pauses often.
    tc -n $space qdisc add dev eqo0 root tbf rate $((8 * rate))mbit burst 16kb latency 50ms 2> /dev/null ||
        skip "no token bucket filter (tbf) in this kernel"
done

# measure SERVER-PREFIX CLIENT-PREFIX HOST [OPTION...]: seconds of all images, without the processes' start.
measure() {
    local serve=$1 infer=$2 host=$3 address=
    shift 3
    : > "$work/server" # the last server's address must not be read
    $serve "$eqo" serve "$checkpoint" --listen "$host:0" --sessions 1 "$@" 2> "$work/server" &
    server=$!
    for _ in $(seq 100); do
        address=$(sed -n 's/^listening on //p' "$work/server")
        [ -n "$address" ] && break
        sleep 0.1
    done
    [ -n "$address" ] || fail "the server didn't start: $(cat "$work/server")"
    $infer "$eqo" infer --server "$address" --json "$@" "${images[@]}" > "$work/client"
    wait "$server" && server=
    sed -E 's/.*"seconds":([0-9.]+).*/\1/' "$work/client" | awk '{ sum += $1 } END { printf "%.3f\n", sum }'
}

for _ in $(seq "$repeats"); do
    measure "" "" 127.0.0.1 >> "$work/none"
    measure "ip netns exec $a" "ip netns exec $b" 10.99.0.1 >> "$work/tbf"
    measure "" "" 127.0.0.1 --network "$rate,0" >> "$work/link"
done
best() { sort -g "$work/$1" | head -1; }
megabytes=$(sed -E 's/.*"bytes_total":([0-9]+).*/\1/' "$work/client" | awk '{ sum += $1 } END { printf "%.1f", sum / 1e6 }')
echo "$checkpoint, ${#images[@]} images, $megabytes MB, $rate MB/s each way, best of $repeats"
echo "loopback as it is        $(best none) s"
echo "tbf between namespaces   $(best tbf) s"
echo "loopback, --network      $(best link) s"
awk -v tbf="$(best tbf)" -v link="$(best link)" 'BEGIN { printf "ratio link / tbf         %.3f\n", link / tbf }'
