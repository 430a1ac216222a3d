#include "sentry/syscalls/strace_names_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/kernel/core/restart.h"

#define F(name)                                                                                    \
	{                                                                                          \
		name, #name                                                                        \
	}

const struct strace_flag strace_open_flags[] = {
	F(O_CREAT),
	F(O_EXCL),
	F(O_NOCTTY),
	F(O_TRUNC),
	F(O_APPEND),
	F(O_NONBLOCK),
	F(O_SYNC),
	F(O_DSYNC),
	F(O_ASYNC),
	F(O_DIRECT),
	F(O_TMPFILE),
	F(O_DIRECTORY),
	F(O_NOFOLLOW),
	F(O_NOATIME),
	F(O_CLOEXEC),
	F(O_PATH),
	{0x8000, "O_LARGEFILE"},
	{0, NULL},
};
const struct strace_flag strace_prot_flags[] = {
	F(PROT_READ), F(PROT_WRITE), F(PROT_EXEC), F(PROT_GROWSDOWN), {0, NULL},
};
const struct strace_flag strace_map_flags[] = {
	{3, "MAP_SHARED_VALIDATE"},
	F(MAP_SHARED),
	F(MAP_PRIVATE),
	F(MAP_FIXED),
	F(MAP_FIXED_NOREPLACE),
	F(MAP_ANONYMOUS),
	F(MAP_GROWSDOWN),
	F(MAP_DENYWRITE),
	F(MAP_NORESERVE),
	F(MAP_POPULATE),
	F(MAP_STACK),
	F(MAP_LOCKED),
	F(MAP_HUGETLB),
	F(MAP_32BIT),
	{0, NULL},
};
const struct strace_flag strace_at_flags[] = {
	F(AT_SYMLINK_NOFOLLOW), F(AT_REMOVEDIR),  F(AT_SYMLINK_FOLLOW),
	F(AT_NO_AUTOMOUNT),	F(AT_EMPTY_PATH), {0, NULL},
};
const struct strace_flag strace_clone_flags[] = {
	F(CLONE_VM),
	F(CLONE_FS),
	F(CLONE_FILES),
	F(CLONE_SIGHAND),
	F(CLONE_PIDFD),
	F(CLONE_PTRACE),
	F(CLONE_VFORK),
	F(CLONE_PARENT),
	F(CLONE_THREAD),
	F(CLONE_NEWNS),
	F(CLONE_SYSVSEM),
	F(CLONE_SETTLS),
	F(CLONE_PARENT_SETTID),
	F(CLONE_CHILD_CLEARTID),
	F(CLONE_DETACHED),
	F(CLONE_UNTRACED),
	F(CLONE_CHILD_SETTID),
	F(CLONE_NEWCGROUP),
	F(CLONE_NEWUTS),
	F(CLONE_NEWIPC),
	F(CLONE_NEWUSER),
	F(CLONE_NEWPID),
	F(CLONE_NEWNET),
	F(CLONE_IO),
	{0, NULL},
};

const char *strace_signal_name(int sig)
{
	static __thread char buf[24];
	const char *abbrev = sig > 0 && sig < 32 ? sigabbrev_np(sig) : NULL;

	if (abbrev)
		snprintf(buf, sizeof(buf), "SIG%s", abbrev);
	else if (sig >= 32 && sig <= 64)
		snprintf(buf, sizeof(buf), "SIGRT_%d", sig - 32);
	else
		snprintf(buf, sizeof(buf), "%d", sig);
	return buf;
}

const char *strace_errno_name(int err)
{
	static __thread char buf[96];
	const char *name = strerrorname_np(err);

	switch (err) {
	case ERESTARTSYS:
		return "ERESTARTSYS (to be restarted)";
	case ERESTARTNOINTR:
		return "ERESTARTNOINTR (to be restarted)";
	case ERESTARTNOHAND:
		return "ERESTARTNOHAND (to be restarted if no handler)";
	case ERESTART_RESTARTBLOCK:
		return "ERESTART_RESTARTBLOCK (interrupted by signal)";
	}
	if (name)
		snprintf(buf, sizeof(buf), "%s (%s)", name, strerrordesc_np(err));
	else
		snprintf(buf, sizeof(buf), "%d", err);
	return buf;
}
