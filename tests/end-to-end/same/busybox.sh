#!/bin/bash
b=$(command -v busybox) || exit 77
$b sh -c 'i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo $i; done | busybox sort -n | busybox tail -1; busybox ls /usr/share/common-licenses | busybox wc -l; busybox md5sum /etc/passwd; busybox tar cf - -C /usr/share common-licenses | busybox gzip | busybox gunzip | busybox tar tf - | busybox sort | busybox head -3; busybox awk "BEGIN{print 6*7}"; busybox vi --help 2>&1 | busybox head -0; busybox find /usr/share/common-licenses -type l | busybox sort | busybox head -2; (exit 3); echo $?; busybox sleep 0.01; busybox ps >/dev/null && echo ps; busybox uname -s; kill -9 $$'
echo $?
