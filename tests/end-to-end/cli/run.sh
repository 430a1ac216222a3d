#!/bin/bash
# moat run: what config.json says is what the container sees.
set -u
busybox=$(command -v busybox) || exit 77
work=$(mktemp -d /tmp/moat-run.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/bundle/rootfs/{bin,etc,data,secret} "$work/volume"
cd "$work/bundle" || exit 1
cp "$busybox" rootfs/bin/busybox
ln -s busybox rootfs/bin/sh
echo hidden >rootfs/secret/f
echo hidden >rootfs/etc/masked
echo volume >"$work/volume/f"
cat >config.json <<EOF
{
  "ociVersion": "1.0.2",
  "process": {
    "terminal": false,
    "user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 18},
    "args": ["sh", "/script"],
    "env": ["PATH=/bin", "GREETING=hello"],
    "cwd": "/data",
    "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"],
                     "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "container",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=1777"]},
    {"destination": "/volume", "type": "bind", "source": "$work/volume", "options": ["rbind", "ro"]}
  ],
  "linux": {
    "maskedPaths": ["/secret", "/etc/masked", "/no/such"],
    "readonlyPaths": ["/proc/sys"]
  }
}
EOF
cat >rootfs/script <<'EOF'
b=/bin/busybox
echo "$($b id -u) $($b id -g) $($b id -G) $(umask) $GREETING $($b pwd) $($b hostname)"
$b grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status
ulimit -n; ulimit -Hn
echo x 2>/dev/null >/data/x || echo "root is read-only"
echo x >/tmp/x && echo "tmp is writable"
$b dd if=/dev/zero of=/tmp/big bs=1024 count=2048 2>/dev/null || echo "tmp is full"
$b cat /volume/f; (echo x >/volume/g) 2>/dev/null || echo "volume is read-only"
$b ls /secret; $b cat /etc/masked
[ -c /dev/null ] && [ -d /dev/pts ] && [ -d /dev/shm ] && [ -d /sys/devices ] && echo devices
exit 9
EOF
cat >expected <<'EOF'
1000 1001 1001 5 6 0022 hello /data container
CapInh:	0000000000000020
CapPrm:	0000000000000020
CapEff:	0000000000000020
CapBnd:	0000000000000021
CapAmb:	0000000000000020
NoNewPrivs:	1
55
66
root is read-only
tmp is writable
tmp is full
volume
volume is read-only
devices
EOF
timeout 90 "$MOAT" run --bundle "$work/bundle" test-id >out 2>err </dev/null
status=$?
diff expected out && [ $status = 9 ] && exit 0
echo "status $status"
cat err
exit 1
