#!/usr/bin/perl
# fork, pipes, signals, sockets, files, sleep.
use strict; use warnings; use IO::Socket; use IO::Select; use POSIX ":sys_wait_h"; use Time::HiRes qw(sleep alarm);
use File::Temp; use File::Find; use Fcntl ':flock'; use Socket;
$| = 1;
pipe(my $r, my $w);
my $pid = fork();
if (!$pid) { close $r; print $w "from the child\n"; exit 3 }
close $w; print scalar <$r>; waitpid $pid, 0; print "status ", $? >> 8, "\n";
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 0.1; sleep 5;
local $SIG{CHLD} = sub { print "child\n" }; $pid = fork(); exit 0 if !$pid; waitpid $pid, 0; sleep 0.01; $SIG{CHLD} = "DEFAULT";
print `echo backticks`; print "system ", system("sh", "-c", "exit 2") >> 8, "\n";
socketpair(my $x, my $y, AF_UNIX, SOCK_STREAM, PF_UNSPEC); syswrite $x, "over a socket\n"; sysread $y, my $line, 100; print $line;
my $s = IO::Select->new($y); print "ready ", scalar($s->can_read(0)), "\n"; syswrite $x, "x"; print "ready ", scalar($s->can_read(1)), "\n";
my $listen = IO::Socket::UNIX->new(Local => "sock", Listen => 1) or die; $pid = fork();
if (!$pid) { my $c = IO::Socket::UNIX->new(Peer => "sock") or die; print $c "unix client\n"; exit 0 }
my $c = $listen->accept; print scalar <$c>; waitpid $pid, 0; unlink "sock";
open my $f, "+>", "file"; flock $f, LOCK_EX; print $f "line $_\n" for 1 .. 1000; seek $f, 0, 0; my $n = 0; $n++ while <$f>; print "$n lines\n"; close $f; unlink "file";
my %h; $h{$_ % 97} += $_ for 1 .. 200000; print join(",", map { $h{$_} } (sort { $a <=> $b } keys %h)[0 .. 3]), "\n";
my $files = 0; find(sub { $files++ if -f }, "/usr/share/common-licenses"); print "$files files\n";
my @kids = map { my $k = fork(); if (!$k) { sleep 0.01 * $_; exit $_ } $k } 1 .. 10; my $sum = 0; for (@kids) { waitpid $_, 0; $sum += $? >> 8 } print "sum $sum\n";
print "$0\n" =~ /perl/ ? "name\n" : "no\n"; kill 'TERM', $$; sleep 1; print "not reached\n";
