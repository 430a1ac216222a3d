/*
 * The stack of a new program, as Linux builds it (man 3 getauxval). From the top down: 8 zero
 * bytes, the file name, the environment strings, the argument strings, "x86_64", 16 random bytes;
 * then 16-byte aligned, from the bottom up: argc, argv, NULL, envp, NULL, the auxiliary vector.
 */
#include <errno.h>
#include <linux/auxvec.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/times.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/mm/mm.h"

#define ARG_PAGES_MIN (128UL << 10)
#define ARG_MAX_TOTAL (6UL << 20)
#define MAX_ARG_STRLEN (128UL << 10)
#define PLATFORM_NAME "x86_64"
#define MAX_AUXV 24

struct stack_builder {
	char *buf;
	uint64_t size;
	uint64_t top; /* address of buf + size */
	uint64_t pos; /* bytes used, from the top */
};

static uint64_t push(struct stack_builder *b, const void *data, size_t n)
{
	b->pos += n;
	memcpy(b->buf + b->size - b->pos, data, n);
	return b->top - b->pos;
}

static int add_size(uint64_t *total, char *const *v)
{
	for (; *v; v++) {
		size_t n = strlen(*v) + 1;

		if (n > MAX_ARG_STRLEN)
			return -E2BIG;
		*total += n + sizeof(uint64_t);
	}
	return 0;
}

/* The bytes of strings and pointers; -E2BIG above a quarter of the stack's limit. */
static int args_size(struct exec *e, uint64_t *total)
{
	uint64_t limit = e->task->group->rlim[RLIMIT_STACK].rlim_cur / 4;

	limit = MIN(limit, ARG_MAX_TOTAL);
	limit = MAX(limit, ARG_PAGES_MIN);
	*total = strlen(e->name) + 1;
	if (add_size(total, e->argv) || add_size(total, e->envp) || *total > limit)
		return -E2BIG;
	return 0;
}

static unsigned build_auxv(struct exec *e, uint64_t auxv[2 * MAX_AUXV], uint64_t vdso,
			   uint64_t execfn, uint64_t platform, uint64_t random)
{
	const struct cred *c = e->cred;
	const uint64_t pairs[MAX_AUXV][2] = {
		{vdso ? AT_SYSINFO_EHDR : AT_IGNORE, vdso},
		{AT_MINSIGSTKSZ, getauxval(AT_MINSIGSTKSZ) ? getauxval(AT_MINSIGSTKSZ) : 2048},
		{AT_HWCAP, getauxval(AT_HWCAP)},
		{AT_PAGESZ, PAGE_SIZE},
		{AT_CLKTCK, 100},
		{AT_PHDR, elf_phdr_address(&e->elf)},
		{AT_PHENT, sizeof(Elf64_Phdr)},
		{AT_PHNUM, e->elf.header.e_phnum},
		{AT_BASE, e->interp_file ? e->interp.bias : 0},
		{AT_FLAGS, 0},
		{AT_ENTRY, elf_entry(&e->elf)},
		{AT_UID, uid_shown(c->user_ns, c->uid)},
		{AT_EUID, uid_shown(c->user_ns, c->euid)},
		{AT_GID, gid_shown(c->user_ns, c->gid)},
		{AT_EGID, gid_shown(c->user_ns, c->egid)},
		{AT_SECURE, e->secure},
		{AT_RANDOM, random},
		/* FSGSBASE (bit 1) stays: the host's answer holds for the guest, too. */
		{AT_HWCAP2, platform_hwcap2()},
		{AT_EXECFN, execfn},
		{AT_PLATFORM, platform},
		{AT_NULL, 0},
	};
	unsigned n = 0;

	for (unsigned i = 0; i < MAX_AUXV; i++) {
		if (pairs[i][0] == AT_IGNORE)
			continue;
		auxv[n++] = pairs[i][0];
		auxv[n++] = pairs[i][1];
		if (pairs[i][0] == AT_NULL)
			break;
	}
	return n;
}

/* Strings of v go down the stack in order: the first one lowest. Addresses to ptrs. */
static void push_strings(struct stack_builder *b, char *const *v, uint64_t *ptrs)
{
	for (size_t i = strv_count(v); i-- > 0;)
		ptrs[i] = push(b, v[i], strlen(v[i]) + 1);
}

static int write_stack(struct exec *e, const struct stack_builder *b)
{
	struct iovec local = {.iov_base = b->buf + b->size - b->pos, .iov_len = b->pos};
	struct iovec remote = {.iov_base = (void *)(b->top - b->pos), .iov_len = b->pos};

	return platform_write_mem(e->as, &local, 1, &remote, 1) == (ssize_t)b->pos ? 0 : -EFAULT;
}

int exec_build_stack(struct exec *e, uint64_t top, uint64_t vdso)
{
	size_t argc = strv_count(e->argv), envc = strv_count(e->envp), nptrs = argc + envc + 3;
	uint64_t total, execfn, platform, random, auxv[2 * MAX_AUXV], *ptrs __free = NULL;
	struct stack_builder b = {.top = top};
	uint8_t bytes[16] = {0};
	char *buf __free = NULL;
	unsigned nauxv;
	int err = args_size(e, &total);

	if (err)
		return err;
	b.size = total + sizeof(auxv) + 512 + 8192;
	b.buf = buf = calloc(1, b.size);
	ptrs = calloc(nptrs, sizeof(uint64_t));
	if (!buf || !ptrs)
		return -ENOMEM;
	b.pos = sizeof(uint64_t);
	execfn = push(&b, e->name, strlen(e->name) + 1);
	e->mm->env_end = execfn;
	ptrs[0] = argc;
	push_strings(&b, e->envp, ptrs + 1 + argc + 1);
	e->mm->env_start = e->mm->arg_end = top - b.pos;
	push_strings(&b, e->argv, ptrs + 1);
	e->mm->arg_start = top - b.pos;
	/* Programs with many threads suffer when their stacks share cache sets: Linux, too. */
	b.pos += exec_random_offset(e->task, 13) >> PAGE_SHIFT & ~15ULL;
	platform = push(&b, PLATFORM_NAME, sizeof(PLATFORM_NAME));
	(void)!getrandom(bytes, sizeof(bytes), 0);
	random = push(&b, bytes, sizeof(bytes));
	nauxv = build_auxv(e, auxv, vdso, execfn, platform, random);
	total = (nptrs + nauxv) * sizeof(uint64_t);
	b.pos = ROUND_UP(b.pos + total, 16) - total;
	push(&b, auxv, nauxv * sizeof(uint64_t));
	e->stack = push(&b, ptrs, nptrs * sizeof(uint64_t));
	memcpy(e->mm->auxv, auxv, nauxv * sizeof(uint64_t));
	e->mm->auxv_len = nauxv;
	return write_stack(e, &b);
}
