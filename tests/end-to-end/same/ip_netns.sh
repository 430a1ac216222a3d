#!/bin/bash
# Network namespaces by Debian's iproute2: made, entered and removed; links between them; a pair, and
# three at a bridge.
[ "$(id -u)" = 0 ] && command -v ip >/dev/null && unshare -nm true 2>/dev/null || exit 77
exec unshare -nm bash <<'INSIDE'
export LC_ALL=C
mount -t tmpfs run /run && ip link set lo up
refused() { # CMD...: status; Linux has sentences that moat has not
	"$@" >/dev/null 2>&1
	echo "$*: $?"
}
up() { # NAMESPACE LINK ADDRESS
	ip -n $1 addr add $3 dev $2 && ip -n $1 link set $2 up && ip -n $1 link set lo up
}
state() { # NAMESPACE LINK STATE: Linux looks at carriers a little later
	until [ "$(ip netns exec $1 cat /sys/class/net/$2/operstate)" = $3 ]; do sleep 0.02; done
}
echo "--- namespaces"
ip netns add a && ip netns add b && ip netns add c
refused ip netns add a
ip netns list | sort
ip netns exec a sh -c 'ip netns identify; ip -o link | wc -l; ls /sys/class/net; cat /proc/net/dev | wc -l'
stat -f -c %T /run/netns/a; grep -c ' net:.[0-9]*. /run/netns/. .* nsfs nsfs' /proc/self/mountinfo
ip netns exec b sleep 100 & sleeper=$!
until [ "$(ip netns pids b)" = $sleeper ]; do sleep 0.05; done
ip netns identify $sleeper
echo "--- numbers"
ip netns set b 7; refused ip netns set b 8; refused ip netns set c 7; ip netns list | sort; ip netns list-id | sort
echo "--- pair"
ip link add v0 address 02:00:00:00:00:10 type veth peer name v1 address 02:00:00:00:00:11 netns a
ip -o link show v0 | cut -d: -f2
ip link set v0 netns b
ip link show v0
ip -n b -br link show v0 | awk '{print $1, $2, $3}'
ip -n a -br link show v1 | awk '{print $1, $2, $3}'
ip -n b -d -o link show v0 | grep -o 'veth\|link-netns [^ ]*'
up a v1 10.1.0.1/24
up b v0 10.1.0.2/24
state a v1 up; state b v0 up
ip -n a route | sed 's/ *$//'
ip -n a -br -4 addr | sed 's/ *$//'
ip -n b route get 10.1.0.1 | head -1 | sed 's/ *$//'
ip netns exec a cat /sys/class/net/v1/address /sys/class/net/v1/operstate /sys/class/net/v1/mtu
ip netns exec a sh -c 'ls /sys/class/net | sort; cut -d: -f1 /proc/net/dev | tail -n +3 | sort'
cat >/run/talk.py <<'PY'
import ctypes, os, socket, struct, sys, threading
libc = ctypes.CDLL(None)
def sock(name, kind, protocol=0):  # made there, used anywhere
    fd = os.open("/run/netns/" + name, os.O_RDONLY)
    assert libc.setns(fd, 0) == 0
    os.close(fd)
    s = socket.socket(socket.AF_INET, kind, protocol)
    s.settimeout(20)
    return s
def ping(client, address):
    s = sock(client, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    packet = struct.pack("!BBHHH8s", 8, 0, 0, 77, 1, b"abcdefgh")
    words = sum(struct.unpack("!8H", packet))
    words = (words & 0xffff) + (words >> 16)
    s.sendto(packet[:2] + struct.pack("!H", ~words & 0xffff) + packet[4:], (address, 0))
    d = s.recv(100)
    print(address, "answers", client, "with type", d[20], d[28:].decode())
def talk(server, address, client, size):
    l = sock(server, socket.SOCK_STREAM)
    l.bind((address, 0)); l.listen()
    def serve():
        c, who = l.accept(); n = 0
        while True:
            d = c.recv(65536)
            if not d: break
            n += len(d)
        c.sendall(b"%d from %s" % (n, who[0].encode())); c.close()
    t = threading.Thread(target=serve); t.start()
    c = sock(client, socket.SOCK_STREAM)
    c.connect(l.getsockname()); c.sendall(b"x" * size); c.shutdown(socket.SHUT_WR)
    print(client, "to", server, c.recv(100).decode()); t.join()
    u, v = sock(server, socket.SOCK_DGRAM), sock(client, socket.SOCK_DGRAM)
    u.bind((address, 0)); v.sendto(b"hello", u.getsockname()); print(u.recvfrom(10)[0].decode())
s = socket.socket()
s.settimeout(20)
try:
    s.connect(("10.1.0.1", 1))
    print("reached")
except OSError as e:
    print("from outside:", e.strerror)
for i in range(1, len(sys.argv), 3):
    ping(sys.argv[i + 2], sys.argv[i + 1])
    talk(*sys.argv[i:i + 3], 700000)
PY
python3 /run/talk.py a 10.1.0.1 b
ip -n a link set v1 down; state b v0 down; ip netns exec b cat /sys/class/net/v0/carrier
ip -n b -o link show v0 | grep -o 'NO-CARRIER\|state [A-Z]*'
ip -n a link set v1 up; state b v0 up; ip netns exec b cat /sys/class/net/v0/carrier
echo "--- bridge"
ip netns add hub
ip -n hub link add br0 type bridge
ip -n hub link set br0 up
for i in a b c; do
	ip -n $i link add eth0 type veth peer name to-$i netns hub
	ip -n hub link set to-$i master br0 up
	n=$((n + 1))
	up $i eth0 10.2.0.$n/24
done
ip -n hub addr add 10.2.0.9/24 dev br0
ip -n hub -o link show master br0 | grep -o 'to-.@\|master br0\|link-netns .*' | cut -c1-40 | tr '\n' ' '; echo
python3 /run/talk.py a 10.2.0.1 b  b 10.2.0.2 c  c 10.2.0.3 hub
bridge -n hub link set dev to-b hairpin off; echo $?
ip -n hub link set to-b type bridge_slave isolated off; echo $?
ip -n hub link set br0 type bridge stp_state 0; echo $?
ip -n hub link set to-b nomaster
refused bridge -n hub link set dev to-b hairpin off
ip -n hub -o link show to-b | grep -c 'master br0'
echo "--- wrong"
refused ip link set lo netns a
refused ip -n hub link set br0 netns a
ip -n a link add x type veth peer name x2; ip link add x type veth peer name x3
refused ip link set x netns a
refused ip link set x netns 4000000
refused ip link set x netns nowhere
refused ip netns exec nowhere true
refused ip link add y type veth peer name z netns nowhere
refused ip link add x type veth peer name z
refused ip -n a link add x4 type veth peer name x
setpriv --reuid 12345 --clear-groups unshare -Ur ip link set x netns a 2>/dev/null; echo $?
setpriv --reuid 12345 --clear-groups unshare -Ur ip netns list-id >/dev/null; echo $?
setpriv --reuid 12345 --clear-groups unshare -Urn sh -c 'ip link add y type veth peer name z && ip -br link show z | cut -d" " -f1
	ip link set z netns 1 2>/dev/null; echo $?'
echo "--- the end"
ip link set x netns $sleeper && ip -n b link show x | grep -c x@
ip -n c link add t0 type veth peer name t1 netns b
kill $sleeper; wait $sleeper 2>/dev/null
ip netns del b
until [ "$(ip -n hub -o link show | grep -c to-b)" = 0 ]; do sleep 0.05; done
ip -n a -o link show v1 2>&1
ip -n c -o link show t0 2>&1
ip -n hub -o link | cut -d: -f2 | cut -d@ -f1 | sort | tr '\n' ' '; echo
ip -n hub link del br0; ip -n a link del eth0
ip -n hub -o link | cut -d: -f2 | cut -d@ -f1 | sort | tr '\n' ' '; echo
ip netns list | sort | cut -d' ' -f1
INSIDE
