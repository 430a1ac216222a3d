#include "sentry/kernel/ipc/ipc_shm_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"

#define SIZE_SAFE (UINT64_MAX - PAGE_SIZE) /* can be rounded up */
#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif

#define TO_SHM(object) container_of(object, struct shm_segment, ipc)

static int64_t now(void)
{
	return clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC;
}

/* --- life ------------------------------------------------------------------------------------- */

/* The last reference to the memory is gone: a removed segment's id goes now. */
static void memory_released(struct shared_memory *s)
{
	struct shm_segment *seg = s->private;

	MUTEX_GUARD(&ipc_lock);
	seg->memory = NULL;
	if (seg->ns)
		ipc_remove(seg->ns, &seg->ipc);
	seg->ns = NULL;
	ipc_put(&seg->ipc);
}

/* Gives the table's hold on the memory up; who is attached keeps it. */
static void release_memory(struct shm_segment *seg)
{
	struct shared_memory *memory;

	mutex_lock(&ipc_lock);
	memory = seg->in_table ? seg->memory : NULL;
	seg->in_table = false;
	seg->ipc.key = IPC_PRIVATE;
	mutex_unlock(&ipc_lock);
	if (memory)
		shared_memory_put(memory);
}

/* The memory, referenced, unless it is gone. */
static struct shared_memory *get_memory(struct shm_segment *seg)
{
	MUTEX_GUARD(&ipc_lock);
	if (!seg->memory || !refcount_inc_not_zero(&seg->memory->refs))
		return NULL;
	return seg->memory;
}

void shm_forget_all(struct sysv_ns *ns)
{
	struct ipc_table *table = &ns->tables[IPC_SHM];

	for (int i = 0; i < table->size; i++) {
		struct ipc_object *object;

		mutex_lock(&ipc_lock);
		object = table->slots[i];
		if (object) {
			refcount_inc(&object->refs);
			ipc_remove(ns, object);
			TO_SHM(object)->ns = NULL;
		}
		mutex_unlock(&ipc_lock);
		if (object) {
			release_memory(TO_SHM(object));
			ipc_put(object);
		}
	}
}

static int create(const struct ipc_params *p, struct ipc_object **out)
{
	struct shm_segment *seg;
	int ret;

	if (p->size < 1 || p->size > ipc_limit_get(IPC_SHMMAX) || p->size > SIZE_SAFE)
		return -EINVAL;
	if (!ipc_has_room(IPC_SHM, ROUND_UP(p->size, PAGE_SIZE) / PAGE_SIZE, IPC_SHMALL))
		return -ENOSPC;
	if (p->flags & SHM_HUGETLB)
		return -ENOMEM;
	seg = calloc(1, sizeof(*seg));
	if (!seg)
		return -ENOMEM;
	ret = shared_memory_create(ROUND_UP(p->size, PAGE_SIZE), &seg->memory);
	if (ret) {
		free(seg);
		return ret;
	}
	seg->size = p->size;
	seg->ipc.amount = ROUND_UP(p->size, PAGE_SIZE) / PAGE_SIZE;
	seg->ns = current->ipc_ns->sysv;
	seg->in_table = true;
	seg->cpid = task_tgid(current);
	seg->ctime = now();
	seg->memory->private = seg;
	seg->memory->release = memory_released;
	*out = &seg->ipc;
	return 0;
}

static int check(struct ipc_object *object, const struct ipc_params *p)
{
	return TO_SHM(object)->size < p->size ? -EINVAL : 0;
}

int shm_get(key_t key, size_t size, int flags)
{
	struct ipc_params p = {
		.type = IPC_SHM,
		.key = key,
		.flags = flags,
		.size = size,
		.limit = IPC_SHMMNI,
		.create = create,
		.check = check,
	};

	return ipc_get(&p);
}

void shm_free(struct ipc_object *object)
{
	free(TO_SHM(object));
}

/* --- attach and detach ------------------------------------------------------------------------ */

static int attach_address(uint64_t *addr, int flags)
{
	if (!*addr)
		return flags & SHM_REMAP ? -EINVAL : 0;
	if (*addr % PAGE_SIZE) {
		if (!(flags & SHM_RND))
			return -EINVAL;
		*addr -= *addr % PAGE_SIZE;
		if (!*addr && (flags & SHM_REMAP))
			return -EINVAL;
	}
	return 0;
}

int64_t shm_attach(struct task *t, int id, uint64_t addr, int flags)
{
	unsigned mode = flags & SHM_RDONLY ? 0444 : 0666;
	int prot = flags & SHM_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	struct shared_memory *memory;
	struct ipc_object *object;
	struct shm_segment *seg;
	int64_t ret;

	if (id < 0)
		return -EINVAL;
	ret = attach_address(&addr, flags);
	if (ret)
		return ret;
	if (flags & SHM_EXEC) {
		mode |= 0111;
		prot |= PROT_EXEC;
	}
	ret = ipc_find(IPC_SHM, id, mode, &object);
	if (ret)
		return ret;
	seg = TO_SHM(object);
	memory = get_memory(seg);
	ret = -EIDRM;
	if (memory) {
		ret = mm_map_shared(t->mm, t->ctx, memory, addr, prot, flags & SHM_REMAP);
		shared_memory_put(memory);
	}
	if (ret >= 0) {
		MUTEX_GUARD(&object->lock);
		seg->atime = now();
		seg->lpid = task_tgid(t);
	}
	ipc_put(object);
	return ret;
}

int shm_detach(struct task *t, uint64_t addr)
{
	struct shared_memory *memory;
	struct shm_segment *seg;
	int ret;

	if (addr % PAGE_SIZE)
		return -EINVAL;
	ret = mm_unmap_shared(t->mm, t->ctx, addr, &memory);
	if (ret)
		return ret;
	/* Alive as long as the memory is. */
	seg = memory->private;
	mutex_lock(&seg->ipc.lock);
	seg->dtime = now();
	seg->lpid = task_tgid(t);
	mutex_unlock(&seg->ipc.lock);
	shared_memory_put(memory);
	return 0;
}

/* --- control ---------------------------------------------------------------------------------- */

int shm_stat(int id, int cmd, struct shmid_ds *ds)
{
	struct ipc_object *object;
	struct shared_memory *memory;
	struct shm_segment *seg;
	int ret;

	ret = ipc_find_stat(IPC_SHM, id, cmd, cmd == SHM_STAT_ANY, &object);
	if (ret)
		return ret;
	seg = TO_SHM(object);
	memory = get_memory(seg);
	memset(ds, 0, sizeof(*ds));
	mutex_lock(&object->lock);
	ipc_fill_perm(object, &ds->shm_perm);
	if (!seg->in_table)
		ds->shm_perm.mode |= SHM_DEST;
	ds->shm_segsz = seg->size;
	ds->shm_atime = seg->atime;
	ds->shm_dtime = seg->dtime;
	ds->shm_ctime = seg->ctime;
	ds->shm_cpid = seg->cpid;
	ds->shm_lpid = seg->lpid;
	/* Every mapping holds a reference; so do the table and this call. */
	if (memory)
		ds->shm_nattch = refcount_read(&memory->refs) - 1 - seg->in_table;
	mutex_unlock(&object->lock);
	ret = cmd == IPC_STAT ? 0 : object->id;
	if (memory)
		shared_memory_put(memory);
	ipc_put(object);
	return ret;
}

int shm_set(int id, const struct shmid_ds *ds)
{
	struct ipc_object *object;
	int ret = ipc_find_owned(IPC_SHM, id, &object);

	if (ret)
		return ret;
	mutex_lock(&ipc_lock);
	ret = ipc_set_perm(object, &ds->shm_perm);
	if (!ret)
		TO_SHM(object)->ctime = now();
	mutex_unlock(&ipc_lock);
	ipc_put(object);
	return ret;
}

int shm_remove(int id)
{
	struct ipc_object *object;
	int ret = ipc_find_owned(IPC_SHM, id, &object);

	if (ret)
		return ret;
	release_memory(TO_SHM(object));
	ipc_put(object);
	return 0;
}

int shm_lock(int id, bool lock)
{
	struct ipc_object *object;
	int ret = ipc_find(IPC_SHM, id, 0, &object);

	if (ret)
		return ret;
	if (!ns_capable(current->ipc_ns->user_ns, CAP_IPC_LOCK)) {
		uid_t euid = current->cred->euid;

		if (euid != object->uid && euid != object->cuid)
			ret = -EPERM;
		else if (lock && !current_rlimit(RLIMIT_MEMLOCK))
			ret = -EPERM;
	}
	if (!ret) {
		MUTEX_GUARD(&ipc_lock);
		object->mode = lock ? object->mode | SHM_LOCKED : object->mode & ~SHM_LOCKED;
	}
	ipc_put(object);
	return ret;
}

uint64_t shm_total(void)
{
	struct sysv_ns *ns = sysv_of(current->ipc_ns);
	uint64_t total = 0;

	if (!ns)
		return 0;
	MUTEX_GUARD(&ipc_lock);
	for (int i = 0; i <= ns->tables[IPC_SHM].max_index; i++)
		if (ns->tables[IPC_SHM].slots[i])
			total += ROUND_UP(TO_SHM(ns->tables[IPC_SHM].slots[i])->size, PAGE_SIZE);
	return total;
}
