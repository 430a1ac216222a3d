/*
 * Processes that wait, loaded, until whoever executed them has seen their number: they run then, or
 * never do. And programs that come as a descriptor.
 *
 * Who sets `held` to false has the process: it starts it or discards it. That is done under
 * container->pausing, so that a reset finds all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/thread.h"
#include "boot/loader/loader_internal.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/vfs/file.h"

#define PROGRAM_MAX (256LL << 20) /* bytes */
#define COPY_SIZE 65536

/* The next that is held; it is no more. Takes the lock. */
static struct process *claim(struct container *c, int pid, bool veto)
{
	struct process *p;
	MUTEX_GUARD(&c->loader->lock);

	LIST_FOREACH (p, &c->processes, link) {
		if (!p->held || (pid && p->pid != pid))
			continue;
		p->held = false;
		/* Its end is nobody's business. */
		p->abandoned = p->abandoned || veto;
		return p;
	}
	return NULL;
}

int process_proceed(struct container *c, int pid, bool veto, struct control_error *err)
{
	struct process *p;
	MUTEX_GUARD(&c->pausing);

	p = pid > 0 ? claim(c, pid, veto) : NULL;
	if (!p)
		return control_fail(err, ESRCH, "%d is no process that has to be started", pid);
	if (!veto)
		return process_start(p, err);
	kernel_discard_process(p->group);
	return 0;
}

void process_discard_held(struct container *c)
{
	struct process *p;

	while ((p = claim(c, 0, true)))
		kernel_discard_process(p->group);
}

bool process_any_held(struct container *c)
{
	struct process *p;

	LIST_FOREACH (p, &c->processes, link)
		if (p->held)
			return true;
	return false;
}

struct abandoned {
	struct container *c; /* counted */
	int pid;
};

static void *discard_main(void *arg)
{
	struct abandoned *a = arg;
	struct process *p;

	mutex_lock(&a->c->pausing);
	p = claim(a->c, a->pid, true);
	if (p)
		kernel_discard_process(p->group);
	mutex_unlock(&a->c->pausing);
	container_put(a->c);
	free(a);
	return NULL;
}

void process_discard_later(struct process *p)
{
	struct abandoned *a = malloc(sizeof(*a));

	if (a) {
		*a = (struct abandoned){.c = p->container, .pid = p->pid};
		refcount_inc(&p->container->refs);
		if (!thread_start_quiet(discard_main, a, 0))
			return;
		/* Not the last one: the list has one, too. */
		refcount_dec(&p->container->refs);
		free(a);
	}
	/* It stays where it is, and does nothing, until the next reset. */
	log_error("process %d cannot be discarded: no memory", p->pid);
}

/* As many bytes as it has now. */
static int copy_bytes(int fd, int64_t size, struct file *to)
{
	char *__free buf = malloc(COPY_SIZE);
	int64_t done = 0;

	if (!buf)
		return -ENOMEM;
	while (done < size) {
		ssize_t n = pread(fd, buf, (size_t)MIN(COPY_SIZE, size - done), done);

		if (n <= 0)
			return n ? -errno : -ENOEXEC;
		n = kernel_write(to, buf, (size_t)n, done);
		if (n <= 0)
			return n ? (int)n : -EIO;
		done += n;
	}
	return 0;
}

int process_copy_program(void *arg, struct file **out)
{
	struct file *__put_file f = NULL;
	const int *fd = arg;
	struct stat st;
	int ret;

	if (fstat(*fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	if (st.st_size > PROGRAM_MAX)
		return -EFBIG;
	ret = memfd_file_create("program", MFD_CLOEXEC, &f);
	if (!ret)
		ret = copy_bytes(*fd, st.st_size, f);
	/* What is open for writing is not executed. */
	return ret ? ret : file_open(&f->path, O_RDONLY, out);
}
