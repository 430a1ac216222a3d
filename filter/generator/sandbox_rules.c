/*
 * What the sandbox process may ask the host for.
 *
 * It is nobody, without capabilities, in namespaces of its own with an empty root; what is below is
 * what of the host is reachable even so. No call makes a socket, executes a program or makes memory
 * executable, none traces a process unless that is how the platform works; path names only ever
 * start at a descriptor that the gofer has donated or at the procfs of the sandbox's own pid
 * namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <linux/futex.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <termios.h>

#include "generator.h"

/* What glibc's pthread_create asks for. */
#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* Without priority inheritance. */
#define ALLOW_FUTEX(op)                                                                            \
	{                                                                                          \
		SCMP_SYS(futex), 1,                                                                \
		{                                                                                  \
			{                                                                          \
				1, 0xffffffffULL & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME),   \
					(op)                                                       \
			}                                                                          \
		}                                                                                  \
	}

/* Newer than Debian 12's headers. */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

/* A file that has no name: of O_TMPFILE the bit that is its own. */
#define NAMELESS 020000000

static const struct rule rules[] = {
	/* time and waiting */
	ALLOW_FUTEX(FUTEX_WAIT),
	ALLOW_FUTEX(FUTEX_WAKE),
	ALLOW_FUTEX(FUTEX_WAIT_BITSET),
	ALLOW_FUTEX(FUTEX_WAKE_BITSET),
	ALLOW_FUTEX(FUTEX_REQUEUE),
	ALLOW_FUTEX(FUTEX_CMP_REQUEUE),
	ALLOW(clock_gettime),
	ALLOW(gettimeofday),
	ALLOW(clock_nanosleep),
	ALLOW(sched_yield),
	ALLOW(restart_syscall),
	ALLOW(poll),
	ALLOW(ppoll),
	ALLOW(epoll_ctl),
	ALLOW(epoll_wait),
	ALLOW_IF(epoll_create1, 0, EPOLL_CLOEXEC),
	ALLOW_1(eventfd2, ONLY(1, EFD_CLOEXEC | EFD_NONBLOCK)),
	ALLOW_IF(pipe2, 1, O_CLOEXEC),
	/* descriptors at hand: stdio, what the gofer donated, memfds */
	ALLOW(read),
	ALLOW(write),
	ALLOW(pread64),
	ALLOW(pwrite64),
	ALLOW(pwritev),
	ALLOW(preadv2),
	ALLOW(pwritev2),
	ALLOW(lseek),
	ALLOW(close),
	ALLOW(fstat),
	ALLOW(fstatfs),
	ALLOW(ftruncate),
	ALLOW(fallocate),
	ALLOW(fsync),
	ALLOW(fdatasync),
	ALLOW(getdents64),
	ALLOW(fgetxattr),
	ALLOW(flistxattr),
	ALLOW_1(memfd_create, ONLY(1, MFD_CLOEXEC | MFD_ALLOW_SEALING)),
	ALLOW_IF(fcntl, 1, F_GETFL),
	ALLOW_IF(fcntl, 1, F_SETFL),
	ALLOW_IF(fcntl, 1, F_GETFD),
	ALLOW_IF(fcntl, 1, F_SETFD),
	ALLOW_IF(fcntl, 1, F_DUPFD_CLOEXEC),
	ALLOW_IF(fcntl, 1, F_ADD_SEALS),
	/* locks on files of mounts that others change, too; none that waits */
	ALLOW_IF(fcntl, 1, F_OFD_SETLK),
	ALLOW_IF(fcntl, 1, F_OFD_GETLK),
	ALLOW_IF(flock, 1, LOCK_SH | LOCK_NB),
	ALLOW_IF(flock, 1, LOCK_EX | LOCK_NB),
	ALLOW_IF(flock, 1, LOCK_UN),
	ALLOW_IF(fcntl, 1, F_GETPIPE_SZ),
	ALLOW_IF(ioctl, 1, FIONREAD),
	ALLOW_IF(ioctl, 1, TIOCGWINSZ),
	ALLOW_IF(ioctl, 1, TCGETS),
	ALLOW_IF(ioctl, 1, TCSETS),
	ALLOW_IF(ioctl, 1, TCSETSW),
	ALLOW_IF(ioctl, 1, TCSETSF),
	/* No out-of-band data, no names of other sockets, no error queues. */
	ALLOW_1(sendmsg, ONLY(2, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_EOR)),
	ALLOW_1(recvmsg, ONLY(2, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK)),
	ALLOW_2(sendto, ONLY(3, MSG_NOSIGNAL | MSG_DONTWAIT), IS64(4, 0)),
	ALLOW_2(recvfrom, ONLY(3, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK),
		IS64(4, 0)),
	/* control connections: who has come by the listening sockets that were inherited */
	ALLOW_1(accept4, ONLY(3, SOCK_CLOEXEC | SOCK_NONBLOCK)),
	ALLOW_2(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_PEERCRED)),
	/* names below a donated directory: looking and opening; changes are the gofer's to make */
	ALLOW_2(openat, FD(0),
		WITH_OF(2, O_NOFOLLOW | O_CLOEXEC,
			O_NOFOLLOW | O_CLOEXEC | O_CREAT | O_TRUNC | O_EXCL | NAMELESS)),
	ALLOW_1(newfstatat, FD(0)),
	ALLOW_2(statx, FD(0), WITH(2, AT_SYMLINK_NOFOLLOW)),
	ALLOW_1(readlinkat, FD(0)),
	/* memory; never executable */
	ALLOW_WITHOUT(mmap, 2, PROT_EXEC),
	ALLOW_WITHOUT(mprotect, 2, PROT_EXEC),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(madvise),
	ALLOW(brk),
	/* threads of its own */
	ALLOW_IF64(clone, 0, THREAD_FLAGS),
	ALLOW(set_robust_list),
	ALLOW(rseq),
	ALLOW(exit),
	ALLOW(exit_group),
	ALLOW(gettid),
	ALLOW(getpid),
	ALLOW(sched_getaffinity),
	ALLOW(sched_setaffinity),
	ALLOW(getcpu),
	/* glibc: pthread_create */
	ALLOW(sched_getparam),
	ALLOW(sched_getscheduler),
	ALLOW(membarrier),
	ALLOW_IF(prctl, 0, PR_SET_NAME),
	ALLOW_IF(prctl, 0, PR_SET_TIMERSLACK),
	/* signals */
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(rt_sigtimedwait),
	ALLOW(sigaltstack),
	/* the stubs: nothing else is in the pid namespace */
	ALLOW(tgkill),
	ALLOW(kill),
	ALLOW(pidfd_open),
	ALLOW(pidfd_send_signal),
	ALLOW(waitid),
	ALLOW(wait4),
	ALLOW(process_vm_readv),
	ALLOW(process_vm_writev),
	/* facts about the host */
	ALLOW(getrandom),
	ALLOW(sysinfo),
	ALLOW(uname),
#ifdef MOAT_FILTER_SANITIZERS
#include "sanitizers.h"
#endif
};

/* How the stubs' system calls come in: by seccomp notifications, ... */
static const struct rule listening[] = {
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_RECV),
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_SEND),
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_ID_VALID),
#ifdef SECCOMP_IOCTL_NOTIF_SET_FLAGS
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_SET_FLAGS),
#else
	ALLOW_IF(ioctl, 1, SECCOMP_IOW(4, uint64_t)),
#endif
};

/* ... or by tracing them. Whom these requests can reach is said in docs/SECURITY.md. */
static const struct rule tracing[] = {
	ALLOW_IF(ptrace, 0, PTRACE_SEIZE),
	ALLOW_IF(ptrace, 0, PTRACE_INTERRUPT),
	ALLOW_IF(ptrace, 0, PTRACE_DETACH),
	ALLOW_IF(ptrace, 0, PTRACE_SYSEMU),
	ALLOW_IF(ptrace, 0, PTRACE_CONT),
	ALLOW_IF(ptrace, 0, PTRACE_SYSCALL),
	ALLOW_IF(ptrace, 0, PTRACE_SINGLESTEP),
	ALLOW_IF(ptrace, 0, PTRACE_GETREGS),
	ALLOW_IF(ptrace, 0, PTRACE_GETREGSET),
	ALLOW_IF(ptrace, 0, PTRACE_SETREGSET),
	ALLOW_IF(ptrace, 0, PTRACE_POKEUSER),
	ALLOW_IF(ptrace, 0, PTRACE_GETSIGINFO),
	ALLOW_IF(ptrace, 0, PTRACE_GET_SYSCALL_INFO),
};

/* Frames over packet sockets that the CLI has bound to interfaces of the container's namespace. */
static const struct rule links[] = {
	ALLOW_1(recvmmsg, ONLY(3, MSG_DONTWAIT)),
	ALLOW_1(sendmmsg, ONLY(3, MSG_DONTWAIT)),
	/* whether they are such sockets */
	ALLOW_2(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_DOMAIN)),
	ALLOW_2(getsockopt, IS(1, SOL_SOCKET), IS(2, SO_TYPE)),
	ALLOW_2(getsockopt, IS(1, SOL_PACKET), IS(2, PACKET_VNET_HDR)),
	ALLOW_2(getsockopt, IS(1, SOL_PACKET), IS(2, PACKET_VNET_HDR_SZ)),
	/* what comes with a frame, and which do not come */
	ALLOW_2(setsockopt, IS(1, SOL_PACKET), IS(2, PACKET_AUXDATA)),
	ALLOW_2(setsockopt, IS(1, SOL_PACKET), IS(2, PACKET_IGNORE_OUTGOING)),
};

#define TCP_TYPE (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define UDP_TYPE (SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define MESSAGE (MSG_NOSIGNAL | MSG_DONTWAIT)

/* Sockets of the host's, of TCP and UDP, for guests that have them. Where they lead to is in
 * memory, where a filter cannot look. */
static const struct rule host_sockets[] = {
	ALLOW_2(socket, IS(0, AF_INET), IS(1, TCP_TYPE)),
	ALLOW_2(socket, IS(0, AF_INET), IS(1, UDP_TYPE)),
	ALLOW_2(socket, IS(0, AF_INET6), IS(1, TCP_TYPE)),
	ALLOW_2(socket, IS(0, AF_INET6), IS(1, UDP_TYPE)),
	ALLOW(bind),
	ALLOW(connect),
	ALLOW(listen),
	ALLOW(shutdown),
	ALLOW(getsockname),
	ALLOW(getpeername),
	ALLOW_1(sendmsg,
		ONLY(2, MESSAGE | MSG_OOB | MSG_MORE | MSG_DONTROUTE | MSG_CONFIRM | MSG_EOR)),
	ALLOW_1(recvmsg, ONLY(2, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC | MSG_PEEK | MSG_OOB |
					 MSG_ERRQUEUE)),
	ALLOW_IF(ioctl, 1, SIOCOUTQ),
	ALLOW_IF(ioctl, 1, SIOCATMARK),
#define SET(level, name)                                                                           \
	ALLOW_2(getsockopt, IS(1, level), IS(2, name)),                                            \
		ALLOW_2(setsockopt, IS(1, level), IS(2, name)),
#define GET(level, name) ALLOW_2(getsockopt, IS(1, level), IS(2, name)),
#include "base/host_options.def"
#undef SET
#undef GET
};

static const struct refusal refusals[] = {
	/* its flags are in memory, where a filter cannot look */
	{.nr = SCMP_SYS(clone3), .err = ENOSYS},
	/* glibc, before it gives memory back: /proc/sys/vm/overcommit_memory */
	{SCMP_SYS(openat), ENOENT, 1, IS(0, AT_FDCWD)},
	/* glibc asks for stack sizes */
	{.nr = SCMP_SYS(prlimit64), .err = EPERM},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#ifdef MOAT_FILTER_SANITIZERS
#define NREFUSALS 2
#else
#define NREFUSALS COUNT(refusals)
#endif

/* The program of a sandbox whose stubs' calls come in by `how`. */
#define RULES(how)                                                                                 \
	.rules = rules, .nrules = COUNT(rules), .more = how, .nmore = COUNT(how),                  \
	.refusals = refusals, .nrefusals = NREFUSALS

const struct rule_set sandbox_rules = {RULES(listening)};
const struct rule_set sandbox_links_rules = {RULES(listening), .links = links,
					     .nlinks = COUNT(links)};
const struct rule_set sandbox_tracer_rules = {RULES(tracing)};
const struct rule_set sandbox_tracer_links_rules = {RULES(tracing), .links = links,
						    .nlinks = COUNT(links)};
const struct rule_set sandbox_host_rules = {RULES(listening), .links = host_sockets,
					    .nlinks = COUNT(host_sockets)};
const struct rule_set sandbox_tracer_host_rules = {RULES(tracing), .links = host_sockets,
						   .nlinks = COUNT(host_sockets)};
