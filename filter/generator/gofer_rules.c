/*
 * What the gofer may ask the host for: operations on files beneath the roots that it opened before,
 * and messages on the sockets that it has. It executes nothing and starts no process or thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "generator.h"

#define KIND(kind)                                                                                 \
	{                                                                                          \
		2, S_IFMT, (kind)                                                                  \
	}
#define ALLOW_KIND(name, kind) ALLOW_1(name, KIND(kind))

static const struct rule rules[] = {
	ALLOW(recvmsg),
	ALLOW(sendmsg),
	ALLOW(poll),
	ALLOW(openat2),
	ALLOW(openat),
	ALLOW(close),
	ALLOW(read),
	ALLOW(write),
	ALLOW(statx),
	ALLOW(fstat),
	ALLOW(newfstatat),
	ALLOW(fstatfs),
	ALLOW(readlinkat),
	ALLOW(getdents64),
	ALLOW(lseek),
	ALLOW(mkdirat),
	/* No device nodes. */
	ALLOW_KIND(mknodat, S_IFREG),
	ALLOW_KIND(mknodat, S_IFIFO),
	ALLOW_KIND(mknodat, S_IFSOCK),
	ALLOW_KIND(mknodat, 0),
	ALLOW(symlinkat),
	ALLOW(linkat),
	ALLOW(unlinkat),
	ALLOW(renameat2),
	ALLOW(fchmod),
	ALLOW(fchmodat),
	ALLOW(fchown),
	ALLOW(fchownat),
	ALLOW(utimensat),
	ALLOW(ftruncate),
	ALLOW(fgetxattr),
	ALLOW(flistxattr),
	ALLOW(fsetxattr),
	ALLOW(fremovexattr),
	ALLOW(copy_file_range),
	ALLOW_IF(fcntl, 1, F_GETFL),
	ALLOW_IF(fcntl, 1, F_DUPFD_CLOEXEC),
	ALLOW_WITHOUT(mmap, 2, PROT_EXEC),
	ALLOW_WITHOUT(mprotect, 2, PROT_EXEC),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(madvise),
	ALLOW(brk),
	ALLOW(futex),
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(restart_syscall),
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(geteuid),
	ALLOW(getegid),
	ALLOW(getuid),
	ALLOW(getgid),
	ALLOW(getrandom),
	ALLOW(clock_gettime),
	ALLOW(exit),
	ALLOW(exit_group),
#ifdef MOAT_FILTER_SANITIZERS
#include "sanitizers.h"
#endif
};

static const struct refusal refusals[] = {
	/* fchmodat2: libseccomp 2.5 does not know its name; older kernels do not have it */
	{.nr = 452, .err = ENOSYS},
};

const struct rule_set gofer_rules = {
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.refusals = refusals,
	.nrefusals = sizeof(refusals) / sizeof(refusals[0]),
};
