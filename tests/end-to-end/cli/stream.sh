#!/bin/bash
# 1 GiB in and out, through pipes and through files, keeps its checksum.
set -u
stream() { openssl enc -aes-128-ctr -nosalt -K 00112233445566778899aabbccddeeff -iv 0 </dev/zero 2>/dev/null | head -c 1G; }
expected=$(stream | cksum)
got=$(stream | timeout 300 "$MOAT" do cat | cksum)
[ "$expected" = "$got" ] || { echo "expected $expected, got $got"; exit 1; }
