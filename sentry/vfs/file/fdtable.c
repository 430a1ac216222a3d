/* Fd tables. files->lock is a leaf: file references are dropped outside it. */
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file/fd.h"
#include "sentry/vfs/lock/locks.h"

#define INITIAL_SIZE 32
#define MAX_FDS 1048576 /* Linux: fs.nr_open */

struct files *files_alloc(void)
{
	struct files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	refcount_init(&files->refs);
	mutex_init(&files->lock);
	return files;
}

/* files->lock held. */
static int grow(struct files *files, int want)
{
	int size = files->size ? files->size : INITIAL_SIZE;
	struct fdtable_slot *slots;

	while (size <= want)
		size *= 2;
	slots = realloc(files->slots, size * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	memset(slots + files->size, 0, (size - files->size) * sizeof(*slots));
	files->slots = slots;
	files->size = size;
	return 0;
}

static struct files *dup_range(struct files *files, unsigned limit)
{
	struct files *copy = files_alloc();
	int last = -1;

	if (!copy)
		return NULL;
	MUTEX_GUARD(&files->lock);
	for (int i = 0; i < files->size && (unsigned)i < limit; i++)
		if (files->slots[i].file)
			last = i;
	if (last >= 0 && grow(copy, last)) {
		files_put(copy);
		return NULL;
	}
	for (int i = 0; i <= last; i++)
		if (files->slots[i].file) {
			copy->slots[i] = files->slots[i];
			file_get(copy->slots[i].file);
		}
	return copy;
}

struct files *files_dup(struct files *files)
{
	return dup_range(files, MAX_FDS);
}

struct files *files_dup_below(struct files *files, unsigned limit)
{
	return dup_range(files, limit);
}

struct files *files_get(struct files *files)
{
	refcount_inc(&files->refs);
	return files;
}

/* What close(2) does to a file that has left the table. */
static int close_file(struct files *files, struct file *f)
{
	int err = 0;

	if (!f->is_path) {
		if (f->ops->flush)
			err = f->ops->flush(f);
		file_locks_release_owner(f, files);
	}
	file_put(f);
	return err;
}

void files_put(struct files *files)
{
	if (!files || !refcount_dec(&files->refs))
		return;
	for (int i = 0; i < files->size; i++)
		if (files->slots[i].file)
			close_file(files, files->slots[i].file);
	mutex_destroy(&files->lock);
	free(files->slots);
	free(files);
}

/* Takes the file out of slot i; lock held. */
static struct file *take(struct files *files, int i)
{
	struct file *f = files->slots[i].file;

	if (f) {
		files->slots[i] = (struct fdtable_slot){0};
		if (i < files->next_hint)
			files->next_hint = i;
	}
	return f;
}

void files_close_on_exec(struct files *files)
{
	mutex_lock(&files->lock);
	for (int i = 0; i < files->size; i++) {
		struct file *f;

		if (!files->slots[i].file || !files->slots[i].cloexec)
			continue;
		f = take(files, i);
		mutex_unlock(&files->lock);
		close_file(files, f);
		mutex_lock(&files->lock);
	}
	mutex_unlock(&files->lock);
}

struct file *files_fd_get(struct files *files, int fd)
{
	struct file *f = NULL;

	mutex_lock(&files->lock);
	if (fd >= 0 && fd < files->size && files->slots[fd].file)
		f = file_get(files->slots[fd].file);
	mutex_unlock(&files->lock);
	return f;
}

struct file *fd_get_raw(int fd)
{
	struct files *files = current_files();

	return files ? files_fd_get(files, fd) : NULL;
}

struct file *fd_get(int fd)
{
	struct file *f = fd_get_raw(fd);

	if (f && f->is_path) {
		file_put(f);
		return NULL;
	}
	return f;
}

static uint64_t nofile_limit(void)
{
	uint64_t limit = current_rlimit(RLIMIT_NOFILE);

	return limit > MAX_FDS ? MAX_FDS : limit;
}

int fd_install_from(struct files *files, int min, struct file *file, bool cloexec)
{
	uint64_t limit = nofile_limit();
	int i;

	MUTEX_GUARD(&files->lock);
	i = MAX(min, files->next_hint);
	while (i < files->size && files->slots[i].file)
		i++;
	if ((uint64_t)i >= limit)
		return -EMFILE;
	if (i >= files->size && grow(files, i))
		return -ENOMEM;
	files->slots[i].file = file;
	files->slots[i].cloexec = cloexec;
	if (min <= files->next_hint)
		files->next_hint = i + 1;
	return i;
}

int fd_check_room(struct files *files)
{
	uint64_t limit = nofile_limit();

	MUTEX_GUARD(&files->lock);
	while (files->next_hint < files->size && files->slots[files->next_hint].file)
		files->next_hint++;
	return (uint64_t)files->next_hint < limit ? 0 : -EMFILE;
}

int fd_install(struct file *file, bool cloexec)
{
	return fd_install_from(current_files(), 0, file, cloexec);
}

int fd_install_at(struct files *files, int fd, struct file *file, bool cloexec)
{
	struct file *old;

	if (fd < 0 || (uint64_t)fd >= nofile_limit())
		return -EBADF;
	mutex_lock(&files->lock);
	if (fd >= files->size && grow(files, fd)) {
		mutex_unlock(&files->lock);
		return -ENOMEM;
	}
	old = files->slots[fd].file;
	files->slots[fd].file = file_get(file);
	files->slots[fd].cloexec = cloexec;
	mutex_unlock(&files->lock);
	if (old)
		close_file(files, old);
	return fd;
}

int fd_close(struct files *files, int fd)
{
	struct file *f = NULL;

	mutex_lock(&files->lock);
	if (fd >= 0 && fd < files->size)
		f = take(files, fd);
	mutex_unlock(&files->lock);
	return f ? close_file(files, f) : -EBADF;
}

struct file *files_next(struct files *files, int *fd, bool *cloexec)
{
	MUTEX_GUARD(&files->lock);
	for (int i = MAX(*fd, 0); i < files->size; i++) {
		if (!files->slots[i].file)
			continue;
		*fd = i;
		if (cloexec)
			*cloexec = files->slots[i].cloexec;
		return file_get(files->slots[i].file);
	}
	return NULL;
}

int fd_get_cloexec(struct files *files, int fd)
{
	MUTEX_GUARD(&files->lock);
	if (fd < 0 || fd >= files->size || !files->slots[fd].file)
		return -EBADF;
	return files->slots[fd].cloexec;
}

int fd_set_cloexec(struct files *files, int fd, bool cloexec)
{
	MUTEX_GUARD(&files->lock);
	if (fd < 0 || fd >= files->size || !files->slots[fd].file)
		return -EBADF;
	files->slots[fd].cloexec = cloexec;
	return 0;
}

void fd_close_range(struct files *files, unsigned first, unsigned last, bool cloexec)
{
	mutex_lock(&files->lock);
	for (unsigned i = first; i <= last && i < (unsigned)files->size; i++) {
		struct file *f;

		if (!files->slots[i].file)
			continue;
		if (cloexec) {
			files->slots[i].cloexec = true;
			continue;
		}
		f = take(files, i);
		mutex_unlock(&files->lock);
		close_file(files, f);
		mutex_lock(&files->lock);
	}
	mutex_unlock(&files->lock);
}
