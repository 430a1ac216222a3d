/*
 * Strays: processes and threads that a stub has made by an ordered clone(2) and denied or hidden.
 *
 * A clone's result is the stub's word, so it is believed only where the host's kernel confirms it:
 * a child that exists is in /proc from before its clone(2) returns to its parent. A process that is
 * our child and not registered is a stray unless its parent's clone is still under way; whose child
 * it is tells the one mapping that a stub cannot change by itself, its slot region.
 *
 * A look that the host refuses (no descriptor is left, say) has found nothing out: it is never
 * taken for "none".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/platform/systrap/systrap.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define CLONE_LOOKS 1000	 /* a millisecond apart: for a clone of another thread to be over */
#define SWEEP_AGAIN_NS 100000000 /* after a look that the host has refused */

static struct {
	struct mutex lock;
	uint32_t region[MAX_AS]; /* to be swept */
	unsigned n;
	sem_t work;
} sweeps = {.lock = MUTEX_INIT};

/* --- whose child a process is ------------------------------------------------------------------
 */

/* 1 if process pid has this slot region mapped; 0: it has not, or is gone; or -errno. */
static int has_region(pid_t pid, uint32_t wanted)
{
	char path[32], line[256];
	uint32_t region = 0;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "%d/maps", pid);
	fd = openat(systrap.config.proc_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	f = fdopen(fd, "re");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	while (fgets(line, sizeof(line), f)) {
		unsigned long long from, to, offset;

		if (sscanf(line, "%llx-%llx %*s %llx", &from, &to, &offset) == 3 &&
		    from == STUB_SLOTS)
			region = (uint32_t)(offset / SLOT_REGION);
	}
	fclose(f);
	return region == wanted;
}

static bool is_our_child(pid_t pid)
{
	siginfo_t info = {0};

	return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL);
}

/*
 * Calls fn for every child of ours that is not registered. Stops at the first that answers
 * something else than 0, and returns that, or -errno: what is there cannot be told.
 * What fn gets may die at any time: it holds nothing but the number.
 */
static int each_unknown_child(int (*fn)(pid_t pid, uint32_t region), uint32_t region)
{
	int fd = openat(systrap.config.proc_fd, ".",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int ret = 0;

	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (errno = 0, d = readdir(dir))) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid <= 0 || pid == systrap.zygote_pid || as_by_pid(pid) || !is_our_child(pid))
			continue;
		ret = fn(pid, region);
	}
	if (!ret && !d && errno)
		ret = -errno;
	closedir(dir);
	return ret;
}

/* --- callers that nobody knows -----------------------------------------------------------------
 */

struct caller {
	struct listener *l;
	uint64_t id;
};

static bool still_waits(void *arg)
{
	struct caller *caller = arg;

	return !ioctl(caller->l->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &caller->id);
}

void stray_kill_caller(struct listener *l, const struct seccomp_notif *n)
{
	struct caller caller = {l, n->id};

	stub_kill_thread((pid_t)n->pid, still_waits, &caller);
}

/* --- clones that are denied --------------------------------------------------------------------
 */

/* 1 if the process has a thread that is no context's and not its first; 0, or -errno. */
static int has_unknown_thread(struct platform_as *as)
{
	struct dirent *d;
	char path[32];
	int fd, ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%d/task", as->pid);
	fd = openat(systrap.config.proc_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while (!ret && (errno = 0, d = readdir(dir))) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);

		if (tid > 0 && tid != as->pid)
			ret = !as_has_thread(as, tid);
	}
	if (!ret && !d && errno)
		ret = -errno;
	closedir(dir);
	return ret;
}

/*
 * Any child of the family may show itself with any order that its parent knows, so who has made
 * which cannot be told; only how many there are. That none is hidden says that all clones have been
 * accounted for only if none was under way from before the look to after it.
 */
enum strays strays_look(struct platform_as *parent, bool thread, unsigned own)
{
	unsigned cloned = parent->cloned;
	bool quiet = parent->cloning == own;
	int ret =
		thread ? has_unknown_thread(parent) : each_unknown_child(has_region, parent->index);

	if (ret == 0)
		return quiet && parent->cloned == cloned ? STRAYS_NONE : STRAYS_UNKNOWN;
	/* What is found may be another's child that has not shown itself yet. */
	return ret < 0 || parent->clones != 1 ? STRAYS_UNKNOWN : STRAYS_SOME;
}

bool strays_none(struct platform_as *parent, bool thread)
{
	const struct timespec pause = {0, 1000000};
	unsigned found = 0;

	lock_check_no_lead();
	for (int i = 0; i < CLONE_LOOKS && !parent->dead; i++) {
		enum strays strays = strays_look(parent, thread, 0);

		if (strays == STRAYS_NONE)
			return true;
		/* Twice: it may have shown itself just now. Threads that were let exit may be half
		 * gone. */
		found = strays == STRAYS_SOME ? found + 1 : 0;
		if (found > 1 && !thread)
			return false;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* --- what dead parents left behind -------------------------------------------------------------
 */

static int kill_if_from(pid_t pid, uint32_t region)
{
	int __close_fd pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	siginfo_t info = {0};
	int ret;

	if (pidfd < 0)
		return errno == ESRCH ? 0 : -errno;
	/* The pidfd is of what is looked at if that is still there afterwards. */
	ret = has_region(pid, region);
	if (ret <= 0 || waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) ||
	    as_by_pid(pid))
		return ret < 0 ? ret : 0;
	log_warn("killing process %d, which its dead parent has hidden", pid);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) && errno == EINTR)
		;
	return 0;
}

static void *sweeper_main(void *arg)
{
	const struct timespec pause = {0, SWEEP_AGAIN_NS};

	for (;;) {
		uint32_t region;

		while (sem_wait(&sweeps.work))
			;
		if (systrap.down)
			return NULL;
		mutex_lock(&sweeps.lock);
		region = sweeps.region[--sweeps.n];
		mutex_unlock(&sweeps.lock);
		while (each_unknown_child(kill_if_from, region) < 0)
			nanosleep(&pause, NULL);
		region_put(region);
	}
}

void strays_sweep(uint32_t region)
{
	mutex_lock(&sweeps.lock);
	sweeps.region[sweeps.n++] = region; /* each region at most once: it cannot be too many */
	mutex_unlock(&sweeps.lock);
	sem_post(&sweeps.work);
}

int strays_start(void)
{
	sem_init(&sweeps.work, 0, 0);
	return thread_start(sweeper_main, NULL, THREAD_STACK_SMALL);
}
