/*
 * What the sandbox process may ask the host for.
 *
 * It is nobody, without capabilities, in namespaces of its own with an empty root; what is below is
 * what of the host is reachable even so. No call makes a socket, executes a program, traces a
 * process or makes memory executable; path names only ever start at a descriptor that the gofer has
 * donated or at the procfs of the sandbox's own pid namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>

#include "generator.h"

/* What glibc's pthread_create asks for. */
#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
	 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static const struct rule rules[] = {
	/* time and waiting */
	ALLOW(futex),
	ALLOW(clock_gettime),
	ALLOW(gettimeofday),
	ALLOW(clock_nanosleep),
	ALLOW(sched_yield),
	ALLOW(restart_syscall),
	ALLOW(poll),
	ALLOW(ppoll),
	ALLOW(epoll_create1),
	ALLOW(epoll_ctl),
	ALLOW(epoll_wait),
	ALLOW(eventfd2),
	ALLOW(pipe2),
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
	ALLOW(memfd_create),
	ALLOW_IF(fcntl, 1, F_GETFL),
	ALLOW_IF(fcntl, 1, F_SETFL),
	ALLOW_IF(fcntl, 1, F_GETFD),
	ALLOW_IF(fcntl, 1, F_SETFD),
	ALLOW_IF(fcntl, 1, F_DUPFD_CLOEXEC),
	ALLOW_IF(fcntl, 1, F_ADD_SEALS),
	ALLOW_IF(fcntl, 1, F_GETPIPE_SZ),
	ALLOW_IF(ioctl, 1, FIONREAD),
	ALLOW_IF(ioctl, 1, TIOCGWINSZ),
	ALLOW_IF(ioctl, 1, TCGETS),
	ALLOW_IF(ioctl, 1, TCSETS),
	ALLOW_IF(ioctl, 1, TCSETSW),
	ALLOW_IF(ioctl, 1, TCSETSF),
	ALLOW(sendmsg),
	ALLOW(recvmsg),
	ALLOW(sendto),
	ALLOW(recvfrom),
	/* names below a donated directory: looking and opening; changes are the gofer's to make */
	ALLOW(openat2),
	ALLOW_WITHOUT(openat, 2, O_CREAT | O_TRUNC),
	ALLOW(newfstatat),
	ALLOW(statx),
	ALLOW(readlinkat),
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
	ALLOW(waitid),
	ALLOW(wait4),
	ALLOW(process_vm_readv),
	ALLOW(process_vm_writev),
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_RECV),
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_SEND),
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_ID_VALID),
#ifdef SECCOMP_IOCTL_NOTIF_SET_FLAGS
	ALLOW_IF(ioctl, 1, SECCOMP_IOCTL_NOTIF_SET_FLAGS),
#else
	ALLOW_IF(ioctl, 1, SECCOMP_IOW(4, uint64_t)),
#endif
	/* facts about the host */
	ALLOW(getrandom),
	ALLOW(sysinfo),
	ALLOW(uname),
#ifdef MOAT_FILTER_SANITIZERS
#include "sanitizers.h"
#endif
};

static const struct refusal refusals[] = {
	{SCMP_SYS(clone3), ENOSYS},   /* its flags are in memory, where a filter cannot look */
	{SCMP_SYS(prlimit64), EPERM}, /* glibc asks for stack sizes */
};

const struct rule_set sandbox_rules = {
	rules,
	sizeof(rules) / sizeof(rules[0]),
	refusals,
#ifdef MOAT_FILTER_SANITIZERS
	1,
#else
	sizeof(refusals) / sizeof(refusals[0]),
#endif
};
