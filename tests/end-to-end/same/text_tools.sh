#!/bin/bash
# grep, sed, awk, find over a part of /usr/share.
tree=/usr/share/perl5
[ -d $tree ] || tree=/usr/share/common-licenses
find $tree -type f | sort | md5sum
find $tree -type f -size +4k -newermt 2000-01-01 | wc -l
find $tree -name '*.pm' -exec grep -l 'sub ' {} + | sort | tail -3
find $tree -type d -printf '%P %m %U %G\n' | sort | md5sum
find $tree -type l -printf '%P %l\n' | sort | md5sum
grep -rn 'GNU' /usr/share/common-licenses | sort | md5sum
grep -rc 'the' /usr/share/common-licenses | sort | head -3
find $tree -type f -print0 | sort -z | xargs -0 cat | wc
find $tree -type f -print0 | sort -z | xargs -0 -P4 -n20 md5sum | sort | md5sum
sed -n '1,3p;$p' /usr/share/common-licenses/GPL-3
sed 's/GNU/gnu/g;y/abc/ABC/' /usr/share/common-licenses/GPL-3 | md5sum
awk '{n += NF; for (i = 1; i <= NF; i++) c[$i]++} END {print n, length(c), c["the"]}' /usr/share/common-licenses/GPL-3
awk -F: '{print $1}' /etc/passwd | sort | head -3
awk 'BEGIN {"echo from a pipe" | getline x; print x; print 3 | "cat"; close("cat"); system("exit 3")}'
cp /usr/share/common-licenses/GPL-2 x && sed -i 's/License/LICENCE/' x && md5sum x && diff x /usr/share/common-licenses/GPL-2 | wc -l
diff -r /usr/share/common-licenses /usr/share/common-licenses && echo same
