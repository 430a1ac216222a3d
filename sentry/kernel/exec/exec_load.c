/* A new address space for a program. The old one is not touched: any failure is just an error. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/random.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

/* Bits of randomness, in pages, as on Linux x86-64. */
#define MMAP_RANDOM_BITS 28
#define STACK_RANDOM_BITS 22
#define BRK_RANDOM_BITS 13
#define DYN_BASE (GUEST_TASK_SIZE / 3 * 2)

uint64_t exec_random_offset(const struct task *t, unsigned bits)
{
	uint64_t r = 0;

	if (t->personality & ADDR_NO_RANDOMIZE)
		return 0;
	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return 0;
	return (r & ((1ULL << bits) - 1)) << PAGE_SHIFT;
}

static int open_interp(struct exec *e)
{
	struct exec sub = {.task = e->task};
	int err;

	if (!e->elf.interp)
		return 0;
	err = exec_open(&sub, AT_FDCWD, e->elf.interp, LOOKUP_FOLLOW);
	if (err)
		return err;
	e->interp_file = sub.file;
	/* Too short for a header: Linux's read of it fails. */
	if (sub.head_len < sizeof(Elf64_Ehdr))
		return -EIO;
	err = elf_read(sub.file, sub.head, sub.head_len, &e->interp);
	/* An interpreter that is no ELF file at all is a broken library (Linux: ELIBBAD). */
	return err == -ENOEXEC ? -ELIBBAD : err;
}

static int new_address_space(struct exec *e)
{
	struct platform_as *as;
	int err = platform_as_create(e->task, &as, &e->ctx);

	if (err) {
		e->ctx = NULL;
		return err;
	}
	e->mm = mm_create(as);
	if (!e->mm) {
		platform_as_put(as);
		return -ENOMEM;
	}
	e->as = as;
	if (e->task->mm)
		atomic_store(&e->mm->coredump_filter, atomic_load(&e->task->mm->coredump_filter));
	return 0;
}

static uint64_t stack_limit(const struct task *t)
{
	return t->group->rlim[RLIMIT_STACK].rlim_cur;
}

static int map_stack(struct exec *e, uint64_t *top)
{
	struct task *t = e->task;
	int prot = PROT_READ | PROT_WRITE;
	int err;

	if (e->elf.exec_stack)
		prot |= PROT_EXEC;
	*top = GUEST_TASK_SIZE - PAGE_SIZE - exec_random_offset(t, STACK_RANDOM_BITS);
	err = mm_setup_stack(e->mm, e->ctx, *top, stack_limit(t), prot);
	if (err)
		return err;
	e->mm->mmap_base -= exec_random_offset(t, MMAP_RANDOM_BITS);
	return 0;
}

static int map_program(struct exec *e)
{
	struct elf_image *elf = &e->elf;
	struct mm *mm = e->mm;
	uint64_t bias = 0;
	int err;

	if (elf->header.e_type == ET_DYN) {
		bias = DYN_BASE + exec_random_offset(e->task, MMAP_RANDOM_BITS);
		if (!elf->map_error)
			bias = ROUND_DOWN(bias, elf->align) - ROUND_DOWN(elf->low, elf->align);
	}
	err = elf_map(elf, mm, e->ctx, bias);
	if (err)
		return err;
	mm->start_code = elf->start_code;
	mm->end_code = elf->end_code;
	mm->start_data = elf->start_data;
	mm->end_data = elf->end_data;
	mm_set_brk(mm,
		   ROUND_UP(elf->end, PAGE_SIZE) + exec_random_offset(e->task, BRK_RANDOM_BITS));
	e->entry = elf_entry(elf);
	return 0;
}

/* The interpreter goes right below mmap_base: the new address space holds nothing there yet. */
static int map_interp(struct exec *e)
{
	struct elf_image *elf = &e->interp;
	uint64_t base;
	int err;

	if (!e->interp_file)
		return 0;
	base = ROUND_DOWN(e->mm->mmap_base - (elf->high - elf->low), elf->align);
	err = elf_map(elf, e->mm, e->ctx, elf->header.e_type == ET_DYN ? base - elf->low : 0);
	if (err)
		return err;
	e->entry = elf_entry(elf);
	return 0;
}

static uint64_t map_vdso(struct exec *e)
{
	const void *image;
	uint64_t offset, addr;
	size_t size;
	int fd;

	if (platform_vdso(&image, &size, &fd, &offset))
		return 0;
	size = ROUND_UP(size, PAGE_SIZE);
	addr = e->mm->mmap_base - size - PAGE_SIZE;
	if (e->interp_file)
		addr = ROUND_DOWN(e->interp.bias + e->interp.low, PAGE_SIZE) - size - PAGE_SIZE;
	if (mm_map_special(e->mm, e->ctx, addr, size, PROT_READ | PROT_EXEC, VM_SPECIAL, fd, offset,
			   "[vdso]"))
		return 0;
	e->mm->vdso = addr;
	return addr;
}

/* A program that its user may not read is for those to see whose namespace the file is in. */
static struct user_ns *who_may_dump(const struct exec *e)
{
	const struct inode *inode = e->file->inode;
	struct user_ns *ns = e->cred->user_ns;

	while (e->unreadable && ns->parent &&
	       !(uid_has_name(ns, inode->uid) && gid_has_name(ns, inode->gid)))
		ns = ns->parent;
	return ns;
}

int exec_load(struct exec *e)
{
	uint64_t top, vdso;
	int err = elf_read(e->file, e->head, e->head_len, &e->elf);

	if (!err)
		err = open_interp(e);
	if (!err)
		err = new_address_space(e);
	if (!err)
		err = map_stack(e, &top);
	if (err)
		return err;
	err = map_program(e);
	if (!err)
		err = map_interp(e);
	if (err) {
		e->no_way_back = true;
		return err;
	}
	err = mm_set_exe(e->mm, e->file);
	if (err)
		return err;
	e->mm->dumpable = e->secure || e->unreadable ? 0 : 1;
	mm_set_user_ns(e->mm, who_may_dump(e));
	vdso = map_vdso(e);
	return exec_build_stack(e, top, vdso);
}
