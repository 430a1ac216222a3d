#!/bin/bash
# The small tools on small files.
seq 1000 >n; wc -l n; md5sum n; sha256sum <n; cksum n; sort -rn n | head -3; shuf -i 1-100 | sort -n | md5sum
cut -c1-2 n | uniq -c | sort -k1nr,2 | head -3; tail -c 10 n | od -c; split -l 300 n part.; ls part.*; cat part.* | cmp - n
cp -a n m; cmp n m && echo same; mv m o; ln o p; ln -s o q; readlink q; stat -c '%n %s %h %F %a' n o p q
touch -d '2001-02-03 04:05:06' n; stat -c %y n; date -r n +%s; chmod 640 n; stat -c %A n; chmod u+s n; stat -c %A n
mkdir -p a/b/c; touch a/b/c/d; ls -R a; du -a --apparent-size a >/dev/null && echo du; rm -r a; ls a; rmdir nothing; echo $?
ls -l /etc/passwd /bin/sh | awk '{print $1,$2,$3,$4,$5,$NF}'; ls -d /proc /sys /dev /tmp; test -c /dev/null && echo null
dd if=/dev/zero bs=4096 count=300 status=none | md5sum; dd if=n of=x bs=100 skip=2 count=3 seek=1 conv=notrunc status=none; md5sum x
truncate -s 1M sparse; stat -c %s sparse; head -c 100 /dev/zero >>sparse; stat -c %s sparse; fallocate -l 2M f && stat -c %s f
tee t1 t2 <n | md5sum; cmp t1 t2; paste t1 t2 | head -2; join n n | tail -1; comm -12 t1 t2 | wc -l; fold -w 10 n | head -2; nl n | tail -1
echo 'b a' | xargs -n1 | sort; printf 'x\0y\0' | xargs -0 -I{} echo '[{}]'; env -i A=1 env; basename /a/b.c .c; dirname /a/b
id -u; whoami; groups; tty; echo "tty $?"; nproc >/dev/null && echo nproc; getconf PAGE_SIZE; uname -s; uname -m; realpath ../dir/n | sed 's/.*dir/dir/'
mktemp -u XXXX | wc -c; sync; sleep 0.01; yes | head -100000 | md5sum; factor 1234567890; expr 3 + 4; seq -s, 10; base64 n | md5sum; numfmt --to=iec 123456
install -m 700 -D n i/j/k; stat -c %a i/j/k; mkfifo ff; stat -c %F ff; test -p ff && echo fifo; tsort <<<"a b b c"; pr -t n | tail -1; tac n | head -1; rev <<<abc
cat nosuch; ls nosuch; cp nosuch x; cd nosuch; rm nosuch; mkdir n; head -c1 /; rmdir i; ln -s loop loop; cat loop; echo > /proc/version
df . >/dev/null && echo df; chown 12:34 o && stat -c '%u %g' o; chroot / /bin/echo chrooted; nohup true; stdbuf -o0 echo unbuffered; timeout 5 echo in time
