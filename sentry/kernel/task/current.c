/* The current task as the rooms below see it. */
#include "sentry/kernel/core/current.h"

#include "sentry/kernel/task/task.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

struct cred *current_cred(void)
{
	return current ? current->cred : NULL;
}

struct mm *current_mm(void)
{
	return current ? current->mm : NULL;
}

struct platform_as *current_as(void)
{
	return current && current->mm ? current->mm->as : NULL;
}

struct platform_ctx *current_ctx(void)
{
	return current ? current->ctx : NULL;
}

struct files *current_files(void)
{
	return current ? current->files : NULL;
}

struct fs *current_fs(void)
{
	return current ? current->fs : NULL;
}

struct mnt_ns *current_mnt_ns(void)
{
	return current ? current->mnt_ns : NULL;
}

struct pid *current_tgid(void)
{
	return current ? current->group->tgid : NULL;
}

uint64_t current_rlimit(int resource)
{
	return current ? current->group->rlim[resource].rlim_cur : RLIM_INFINITY;
}

uint64_t current_personality(void)
{
	return current ? current->personality : 0;
}

int64_t current_kept_deadline(int64_t deadline)
{
	if (!current || !(atomic_load(&current->flags) & TF_PUT_OFF))
		return deadline;
	atomic_fetch_and(&current->flags, ~(uint32_t)TF_PUT_OFF);
	return current->kept_deadline;
}

struct restart_block *current_restart(void)
{
	return &current->restart;
}

struct files *current_replace_files(struct files *files)
{
	struct files *old = current->files;

	MUTEX_GUARD(&current->group->lock);
	current->files = files;
	return old;
}

/* Others may read meanwhile. */
static void add_relaxed(uint64_t *count, uint64_t n)
{
	__atomic_store_n(count, *count + n, __ATOMIC_RELAXED);
}

void current_count_io(bool write, ssize_t n)
{
	struct task *t = current;

	add_relaxed(write ? &t->io.syscw : &t->io.syscr, 1);
	if (n > 0)
		add_relaxed(write ? &t->io.wchar : &t->io.rchar, (uint64_t)n);
}

void each_task_fs(void (*fn)(struct fs *fs, void *arg), void *arg)
{
	struct thread_group *g;
	struct task *t;

	READ_GUARD(&kernel.tasklist_lock);
	TAILQ_FOREACH (g, &kernel.groups, all_link)
		for_each_thread (g, t) {
			struct fs *fs = task_fs_get(t);

			if (!fs)
				continue;
			fn(fs, arg);
			fs_put(fs);
		}
}
