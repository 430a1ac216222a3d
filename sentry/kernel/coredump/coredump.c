/* A core file from the signal to its last byte. */
#include "sentry/kernel/coredump/coredump_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/vfs/name/namei.h"

#define MAX_FP_THREADS 1000

static void dump_put(struct core_dump *d)
{
	struct core_thread *ct;

	if (!refcount_dec(&d->refs))
		return;
	while ((ct = TAILQ_FIRST(&d->threads))) {
		TAILQ_REMOVE(&d->threads, ct, link);
		free(ct);
	}
	free(d);
}

/* --- threads ------------------------------------------------------------------------------------
 */

/* What the current task leaves of itself. NULL: no memory. */
static struct core_thread *describe(struct task *t, bool want_fp)
{
	size_t size = want_fp ? platform_fpstate_size() : 0;
	struct core_thread *ct = calloc(1, sizeof(*ct) + size);

	if (!ct)
		return NULL;
	ct->tid = task_tid(t);
	ct->regs = *platform_regs(t->ctx);
	ct->blocked = t->blocked;
	ct->has_fp = size && !platform_get_fpstate(t->ctx, ct->fp, size);
	return ct;
}

void coredump_join(struct task *t)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	struct core_dump *d = g->core;
	struct core_thread *ct;
	bool want_fp;

	if (!d || d->owner == t || atomic_load(&d->done)) {
		mutex_unlock(&sh->lock);
		return;
	}
	refcount_inc(&d->refs);
	want_fp = d->num_fp < MAX_FP_THREADS;
	d->num_fp++;
	mutex_unlock(&sh->lock);

	ct = describe(t, want_fp);
	sh = lock_sighand(g);
	if (ct) {
		ct->pending = __atomic_load_n(&t->pending.set, __ATOMIC_SEQ_CST);
		TAILQ_INSERT_TAIL(&d->threads, ct, link);
	}
	t->core_joined = true;
	mutex_unlock(&sh->lock);
	wake_up_all(&g->thread_exit_wait, ~0u);

	/* It is being killed and waits all the same: memory is to stay as it is. */
	atomic_fetch_and(&t->flags, ~(uint32_t)TF_KILLED);
	wait_event_killable(&d->done_wait, atomic_load(&d->done), NO_DEADLINE);
	atomic_fetch_or(&t->flags, TF_KILLED);
	t->exit_code = g->exit_status;
	dump_put(d);
}

/* All other threads have left their registers, or are past that. */
static bool all_joined(struct task *t)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	bool all = true;
	struct task *each;

	for_each_thread (g, each)
		if (each != t && !each->core_joined && !(atomic_load(&each->flags) & TF_EXITING))
			all = false;
	mutex_unlock(&sh->lock);
	return all || atomic_load(&g->core_killed);
}

/* --- the file -----------------------------------------------------------------------------------
 */

/* A file that is new, the process's own, and like no other: what an enemy has put there is not
 * written to. 0 or -errno. */
static int open_core(const char *name, struct file **out)
{
	struct inode *inode;
	int ret;

	vfs_unlink(AT_FDCWD, name);
	ret = file_open_at(AT_FDCWD, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0600, out);
	if (ret)
		return ret;
	inode = (*out)->inode;
	if (!S_ISREG(inode->mode) || atomic_load(&inode->nlink) != 1 ||
	    inode->uid != vfs_cred()->fsuid || (inode->mode & 0677) != 0600) {
		file_put(*out);
		return -EPERM;
	}
	return 0;
}

/* True: there is a core file, whole or cut. */
static bool write_dump(struct core_dump *d)
{
	struct task *t = d->owner;
	struct core_file f = {.group = t->group, .limit = current_rlimit(RLIMIT_CORE)};
	struct core_ranges ranges = {0};
	struct text notes = {0};
	char *name __free = core_name(d);
	bool done = false;

	if (!name || open_core(name, &f.file))
		return false;
	if (!core_ranges_get(t->group, t->mm, &ranges)) {
		core_notes(&notes, d, &ranges);
		done = !notes.failed;
		if (done)
			core_write(&f, t->mm, &ranges, &notes);
	}
	text_free(&notes);
	core_ranges_put(&ranges);
	file_put(f.file);
	return done;
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static bool may_dump(struct task *t)
{
	return t->mm && t->mm->dumpable == 1 && current_rlimit(RLIMIT_CORE) >= PAGE_SIZE;
}

static struct core_dump *dump_create(struct task *t, int sig, const guest_siginfo_t *info)
{
	struct core_dump *d = calloc(1, sizeof(*d));
	struct core_thread *ct = d ? describe(t, true) : NULL;

	if (!ct) {
		free(d);
		return NULL;
	}
	refcount_init(&d->refs);
	wait_queue_init(&d->done_wait);
	TAILQ_INIT(&d->threads);
	TAILQ_INSERT_HEAD(&d->threads, ct, link);
	d->owner = t;
	d->sig = sig;
	d->info = *info;
	return d;
}

void coredump(struct task *t, int sig, const guest_siginfo_t *info)
{
	struct thread_group *g = t->group;
	struct core_dump *d;
	struct sighand *sh;
	bool dumped;

	if (!may_dump(t))
		return;
	platform_expose(t->ctx);
	d = dump_create(t, sig, info);
	if (!d)
		return;
	sh = lock_sighand(g);
	if (g->exiting || g->exec_task) { /* another thread was first */
		mutex_unlock(&sh->lock);
		dump_put(d);
		return;
	}
	g->core = d;
	group_exit_locked(g, sig, t);
	/* Not yet for this one. */
	atomic_fetch_and(&t->flags, ~(uint32_t)TF_KILLED);
	mutex_unlock(&sh->lock);

	wait_event_killable(&g->thread_exit_wait, all_joined(t), NO_DEADLINE);
	dumped = !atomic_load(&g->core_killed) && write_dump(d);

	sh = lock_sighand(g);
	if (dumped && !atomic_load(&g->core_killed))
		g->exit_status |= 0x80; /* WCOREDUMP */
	g->core = NULL;
	atomic_store(&d->done, true);
	atomic_fetch_or(&t->flags, TF_KILLED | TF_SIGPENDING);
	mutex_unlock(&sh->lock);
	wake_up_all(&d->done_wait, ~0u);
	dump_put(d);
}
