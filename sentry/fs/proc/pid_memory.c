/* What shows a process's memory: maps, mem, auxv, cmdline, environ. */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/mm/mm.h"

#define STRINGS_MAX (1UL << 21) /* cmdline, environ */
#define MAPS_NAME_COLUMN 73

struct mm *proc_mm_get(struct inode *inode, int *err)
{
	struct task *__put_task t = proc_task_get(inode);

	*err = t ? 0 : -ESRCH;
	return t ? task_mm_get(t) : NULL;
}

/* --- maps
 * --------------------------------------------------------------------------------------------- */

static void vma_name(struct text *out, const struct vm_area *vma, size_t line_start)
{
	char *__free path = NULL;
	const char *name = vma->name;

	if (vma->file) {
		path = d_path(&vma->file->path, NULL);
		name = path;
	} else if (vma->shared && !name) {
		name = vma->shared->private ? "/SYSV00000000 (deleted)" : "/dev/zero (deleted)";
	}
	if (name) {
		while (out->len - line_start < MAPS_NAME_COLUMN && !out->failed)
			text_puts(out, " ");
		text_escaped(out, name, "\n");
	}
	text_puts(out, "\n");
}

void proc_show_vma(struct text *out, const struct vm_area *vma)
{
	size_t start = out->len;
	uint64_t dev = 0, ino = 0;

	if (vma->file) {
		dev = vma->file->inode->sb->dev;
		ino = vma->file->inode->ino;
	} else if (vma->shared) {
		ino = vma->shared->ino;
		dev = 1;
	}
	text_printf(out, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", vma->start, vma->end,
		    vma->prot & 1 ? 'r' : '-', vma->prot & 2 ? 'w' : '-', vma->prot & 4 ? 'x' : '-',
		    vma->flags & VM_SHARED ? 's' : 'p', vma->file || vma->shared ? vma->offset : 0,
		    major(dev), minor(dev), ino);
	vma_name(out, vma, start);
}

int proc_show_maps(struct text *out, struct inode *inode)
{
	struct vm_area *vma;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err;
	COMMAND_GUARD(&mm->lock);
	for (vma = vma_find(mm, 0); vma; vma = vma_next(vma))
		proc_show_vma(out, vma);
	return 0;
}

/* --- strings and vectors on the stack
 * ------------------------------------------------------------------- */

static ssize_t append_memory(struct text *out, struct mm *mm, uint64_t start, uint64_t end)
{
	char buf[4096];
	uint64_t at = start;

	if (end < start || end - start > STRINGS_MAX)
		end = start + STRINGS_MAX;
	while (at < end) {
		size_t want = MIN(end - at, sizeof(buf));
		ssize_t n = mm_access(mm, at, buf, want, false, true);

		if (n <= 0)
			break;
		text_write(out, buf, (size_t)n);
		at += (uint64_t)n;
	}
	return (ssize_t)(at - start);
}

/* The arguments; if the process wrote over their end (setproctitle), up to the first NUL, which may
 * then be in what was the environment. */
int proc_show_cmdline(struct text *out, struct inode *inode)
{
	uint64_t arg_start, arg_end, env_start, env_end;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);
	char last = 0, *nul;

	if (!mm)
		return err;
	command_lock(&mm->lock);
	arg_start = mm->arg_start;
	arg_end = mm->arg_end;
	env_start = mm->env_start;
	env_end = mm->env_end;
	mutex_unlock(&mm->lock);
	if (arg_start >= arg_end)
		return 0;
	if (mm_access(mm, arg_end - 1, &last, 1, false, true) != 1)
		return 0;
	if (!last || env_start != arg_end || env_end < env_start) {
		append_memory(out, mm, arg_start, arg_end);
		return 0;
	}
	append_memory(out, mm, arg_start, env_end);
	nul = out->len ? memchr(out->buf, 0, out->len) : NULL;
	if (nul)
		out->len = (size_t)(nul - out->buf) + 1;
	return 0;
}

int proc_show_environ(struct text *out, struct inode *inode)
{
	uint64_t start, end;
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err;
	command_lock(&mm->lock);
	start = mm->env_start;
	end = mm->env_end;
	mutex_unlock(&mm->lock);
	append_memory(out, mm, start, end);
	return 0;
}

int proc_show_auxv(struct text *out, struct inode *inode)
{
	int err;
	struct mm *__put_mm mm = proc_mm_get(inode, &err);

	if (!mm)
		return err;
	COMMAND_GUARD(&mm->lock);
	text_write(out, mm->auxv, MIN(mm->auxv_len, (unsigned)ARRAY_SIZE(mm->auxv)) * 8);
	return 0;
}

/* --- mem: file->private is the address space as it was when opened
 * --------------------------------------- */

static int mem_open(struct inode *inode, struct file *file)
{
	int err = proc_ptrace_may_open(inode);

	if (err)
		return err;
	file->private = proc_mm_get(inode, &err);
	return err;
}

static void mem_release(struct file *file)
{
	if (file->private)
		mm_put(file->private);
}

static ssize_t mem_move(struct file *file, struct iov_iter *it, int64_t *pos, bool write_it)
{
	struct mm *mm = file->private;
	ssize_t done = 0;
	char buf[4096];

	while (mm && iov_iter_count(it)) {
		size_t want = MIN(iov_iter_count(it), sizeof(buf));
		ssize_t n = (ssize_t)want;

		if (write_it)
			n = copy_from_iter(it, buf, want);
		if (n > 0)
			n = mm_access(mm, (uint64_t)*pos, buf, (size_t)n, write_it, true);
		if (n > 0 && !write_it)
			n = copy_to_iter(it, buf, (size_t)n);
		if (n <= 0)
			return done ? done : n == -EFAULT || !n ? -EIO : n;
		*pos += n;
		done += n;
		if ((size_t)n < want)
			break;
	}
	return done;
}

static ssize_t mem_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	return mem_move(file, to, pos, false);
}

static ssize_t mem_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	return mem_move(file, from, pos, true);
}

static int64_t mem_llseek(struct file *file, int64_t offset, int whence)
{
	if (whence == SEEK_CUR)
		offset += file->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	file->pos = offset;
	return offset;
}

const struct file_operations proc_mem_fops = {
	.open = mem_open,
	.release = mem_release,
	.read = mem_read,
	.write = mem_write,
	.llseek = mem_llseek,
};
