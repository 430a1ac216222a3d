#include "sentry/platform/shared/stub_pid.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"

#define PID_BUCKETS 1024

static struct {
	struct mutex lock;
	struct as_head *bucket[PID_BUCKETS];
} pids = {.lock = MUTEX_INIT};

static struct as_head **pid_bucket(pid_t pid)
{
	return &pids.bucket[(unsigned)pid % PID_BUCKETS];
}

/* pids.lock held. */
static struct as_head *find_pid(pid_t pid)
{
	struct as_head *as = *pid_bucket(pid);

	while (as && as->pid != pid)
		as = as->pid_next;
	return as;
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* 0: it is a child of ours, a process; *dead: and a zombie. -ECHILD. */
static int look_at_child(pid_t pid, bool *dead)
{
	siginfo_t info = {0};

	/* By id this finds leaders of thread groups only, and only our own children. */
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL))
		return -errno;
	/* Stops of traced children are reported, too. */
	*dead = info.si_pid && (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED ||
				info.si_code == CLD_DUMPED);
	return 0;
}

int stub_register(struct as_head *as, pid_t pid)
{
	bool dead;
	int ret;
	MUTEX_GUARD(&pids.lock);

	if (find_pid(pid))
		return -EEXIST;
	ret = look_at_child(pid, &dead);
	if (ret)
		return ret;
	if (dead) {
		/* Its exit signal may have come, and been ignored. */
		reap(pid);
		return -ESRCH;
	}
	as->pid = pid;
	as->pid_next = *pid_bucket(pid);
	*pid_bucket(pid) = as;
	return 0;
}

/* pids.lock held; it is a zombie. */
static void unlink_and_reap(struct as_head *as)
{
	struct as_head **p = pid_bucket(as->pid);

	while (*p && *p != as)
		p = &(*p)->pid_next;
	if (*p)
		*p = as->pid_next;
	reap(as->pid);
}

void stub_unregister(struct as_head *as)
{
	/* Under the lock, so that the id is not given out and registered again in between. */
	MUTEX_GUARD(&pids.lock);

	unlink_and_reap(as);
}

bool stub_unregister_if_dead(struct as_head *as)
{
	bool dead;
	MUTEX_GUARD(&pids.lock);

	if (!look_at_child(as->pid, &dead) && !dead)
		return false;
	unlink_and_reap(as);
	return true;
}

bool stub_has_died(struct as_head *as)
{
	bool dead = false;

	return look_at_child(as->pid, &dead) || dead;
}

bool stub_reap_unknown(pid_t pid)
{
	siginfo_t info = {0};
	MUTEX_GUARD(&pids.lock);

	/* The lock keeps it from being registered meanwhile. */
	if (find_pid(pid))
		return false;
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | __WALL);
	return true;
}

struct as_head *stub_by_pid(pid_t pid)
{
	MUTEX_GUARD(&pids.lock);
	return find_pid(pid);
}

void stub_kill_thread(pid_t tid, bool (*still)(void *arg), void *arg)
{
	struct as_head *as;
	bool dead;
	MUTEX_GUARD(&pids.lock);

	/* Nobody is reaped under this lock: what is our child now keeps its number. */
	as = find_pid(tid);
	if (!as && !look_at_child(tid, &dead)) {
		if (still(arg))
			kill(tid, SIGKILL);
		return;
	}
	for (unsigned i = 0; !as && i < PID_BUCKETS; i++)
		for (as = pids.bucket[i]; as; as = as->pid_next)
			if (!syscall(SYS_tgkill, as->pid, tid, 0))
				break;
	if (as && still(arg))
		platform_as_kill((struct platform_as *)as);
}

void stub_for_each(void (*fn)(struct as_head *as))
{
	MUTEX_GUARD(&pids.lock);

	for (unsigned i = 0; i < PID_BUCKETS; i++)
		for (struct as_head *as = pids.bucket[i]; as; as = as->pid_next)
			fn(as);
}
