#!/bin/bash
# tar, gzip, xz: out of the host's tree, and back into files of the sandbox.
tree=/usr/share/perl5
[ -d $tree ] || tree=/usr/share/common-licenses
tar cf a.tar --sort=name -C / ${tree#/} && tar tvf a.tar | awk '{print $1, $2, $3, $6}' | md5sum
mkdir x && tar xf a.tar -C x && (cd x && find . -type f -print0 | sort -z | xargs -0 md5sum | md5sum)
diff -r x$tree $tree && echo same
gzip -k a.tar && gzip -dc a.tar.gz | cmp - a.tar && gzip -t a.tar.gz && echo gzip
head -c 3000000 a.tar | xz -T2 -1 >a.xz && xz -dc a.xz | md5sum
tar czf b.tgz -C x . && tar tzf b.tgz | wc -l
tar cf - -C x . | (mkdir y && tar xf - -C y) && diff -r x y && echo piped
rm -rf x y && ls
