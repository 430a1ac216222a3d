#include "sentry/kernel/exec/elf_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "base/compiler.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

/* Linux: the table fits 64 KiB. */
#define MAX_PHDR_BYTES 65536

static int check_header(const Elf64_Ehdr *h)
{
	/* Linux asks neither for the class nor for the byte order: the machine says both. */
	if (memcmp(h->e_ident, ELFMAG, SELFMAG))
		return -ENOEXEC;
	if ((h->e_type != ET_EXEC && h->e_type != ET_DYN) || h->e_machine != EM_X86_64)
		return -ENOEXEC;
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum < 1 ||
	    (size_t)h->e_phnum * sizeof(Elf64_Phdr) > MAX_PHDR_BYTES)
		return -ENOEXEC;
	return 0;
}

static int read_exact(struct file *file, void *buf, size_t n, uint64_t offset)
{
	ssize_t got;

	if (offset > INT64_MAX - n)
		return -ENOEXEC;
	got = kernel_read(file, buf, n, (int64_t)offset);
	if (got < 0)
		return (int)got;
	return (size_t)got == n ? 0 : -ENOEXEC;
}

static int read_interp(struct elf_image *elf, const Elf64_Phdr *ph)
{
	int err;

	if (ph->p_filesz < 2 || ph->p_filesz > PATH_MAX)
		return -ENOEXEC;
	elf->interp = malloc(ph->p_filesz);
	if (!elf->interp)
		return -ENOMEM;
	err = read_exact(elf->file, elf->interp, ph->p_filesz, ph->p_offset);
	if (err)
		return err;
	return elf->interp[ph->p_filesz - 1] ? -ENOEXEC : 0;
}

static int check_segment(struct elf_image *elf, const Elf64_Phdr *ph)
{
	uint64_t end;

	if (ph->p_filesz > ph->p_memsz || ph->p_memsz > GUEST_TASK_SIZE ||
	    __builtin_add_overflow(ph->p_vaddr, ph->p_memsz, &end) || end > GUEST_TASK_SIZE)
		return -EINVAL;
	if ((ph->p_vaddr ^ ph->p_offset) & (PAGE_SIZE - 1))
		return -EINVAL;
	elf->low = MIN(elf->low, ROUND_DOWN(ph->p_vaddr, PAGE_SIZE));
	elf->high = MAX(elf->high, ROUND_UP(end, PAGE_SIZE));
	if (ph->p_align > elf->align && !(ph->p_align & (ph->p_align - 1)) &&
	    ph->p_align <= (1UL << 30))
		elf->align = ph->p_align;
	return 0;
}

static int scan_headers(struct elf_image *elf)
{
	bool any = false;
	int err = 0;

	elf->low = UINT64_MAX;
	elf->align = PAGE_SIZE;
	for (int i = 0; i < elf->header.e_phnum && !err; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		if (ph->p_type == PT_LOAD && ph->p_memsz) {
			any = true;
			if (!elf->map_error)
				elf->map_error = check_segment(elf, ph);
		} else if (ph->p_type == PT_INTERP && !elf->interp) {
			err = read_interp(elf, ph);
		} else if (ph->p_type == PT_GNU_STACK) {
			elf->exec_stack = ph->p_flags & PF_X;
		}
	}
	if (!any)
		elf->map_error = -EINVAL;
	return err;
}

int elf_read(struct file *file, const void *head, size_t head_len, struct elf_image *elf)
{
	size_t size;
	int err;

	memset(elf, 0, sizeof(*elf));
	elf->file = file;
	if (head_len < sizeof(elf->header))
		return -ENOEXEC;
	memcpy(&elf->header, head, sizeof(elf->header));
	err = check_header(&elf->header);
	if (err)
		return err;
	size = elf->header.e_phnum * sizeof(Elf64_Phdr);
	elf->ph = malloc(size);
	if (!elf->ph)
		return -ENOMEM;
	if (elf->header.e_phoff <= head_len && size <= head_len - elf->header.e_phoff) {
		memcpy(elf->ph, (const char *)head + elf->header.e_phoff, size);
	} else {
		err = read_exact(file, elf->ph, size, elf->header.e_phoff);
		if (err)
			return err;
	}
	return scan_headers(elf);
}

void elf_free(struct elf_image *elf)
{
	free(elf->ph);
	free(elf->interp);
	elf->ph = NULL;
	elf->interp = NULL;
}

static int zero_tail(struct mm *mm, uint64_t start, uint64_t end)
{
	static const char zeros[PAGE_SIZE];
	struct iovec local = {.iov_base = (void *)zeros, .iov_len = end - start};
	struct iovec remote = {.iov_base = (void *)start, .iov_len = end - start};

	if (end == start)
		return 0;
	return platform_write_mem(mm->as, &local, 1, &remote, 1) == (ssize_t)(end - start)
		       ? 0
		       : -EFAULT;
}

/* What the file does not fill is zero: the rest of its last page, and pages of their own. */
static int map_bss(struct mm *mm, struct platform_ctx *ctx, const Elf64_Phdr *ph, uint64_t start,
		   int prot)
{
	uint64_t file_end = start + ph->p_filesz, end = ROUND_UP(start + ph->p_memsz, PAGE_SIZE);
	uint64_t page_end = ROUND_UP(file_end, PAGE_SIZE);
	int64_t ret;

	if (ph->p_filesz == 0)
		page_end = ROUND_DOWN(start, PAGE_SIZE);
	else if (prot & PROT_WRITE)
		if (zero_tail(mm, file_end, page_end))
			return -EFAULT;
	if (end <= page_end)
		return 0;
	ret = mm_mmap(mm, ctx, page_end, end - page_end, prot,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
	return ret < 0 ? (int)ret : 0;
}

static int map_segment(struct elf_image *elf, struct mm *mm, struct platform_ctx *ctx,
		       const Elf64_Phdr *ph)
{
	uint64_t start = ph->p_vaddr + elf->bias, in_page = start & (PAGE_SIZE - 1);
	int prot = (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
		   (ph->p_flags & PF_X ? PROT_EXEC : 0);

	if (start - in_page < GUEST_MMAP_MIN || start + ph->p_memsz > GUEST_TASK_SIZE)
		return -ENOMEM;
	if (ph->p_filesz) {
		int64_t ret = mm_mmap(mm, ctx, start - in_page,
				      ROUND_UP(ph->p_filesz + in_page, PAGE_SIZE), prot,
				      MAP_PRIVATE | MAP_FIXED, elf->file, ph->p_offset - in_page);

		if (ret < 0)
			return (int)ret;
	}
	if (ph->p_flags & PF_X) {
		if (!elf->start_code || start < elf->start_code)
			elf->start_code = start;
		elf->end_code = MAX(elf->end_code, start + ph->p_filesz);
	}
	elf->start_data = MAX(elf->start_data, start);
	elf->end_data = MAX(elf->end_data, start + ph->p_filesz);
	elf->end = MAX(elf->end, start + ph->p_memsz);
	return ph->p_memsz > ph->p_filesz ? map_bss(mm, ctx, ph, start, prot) : 0;
}

int elf_map(struct elf_image *elf, struct mm *mm, struct platform_ctx *ctx, uint64_t bias)
{
	elf->bias = bias;
	if (elf->map_error)
		return elf->map_error;
	for (int i = 0; i < elf->header.e_phnum; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];
		int err;

		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		err = map_segment(elf, mm, ctx, ph);
		if (err)
			return err;
	}
	return 0;
}

uint64_t elf_phdr_address(const struct elf_image *elf)
{
	for (int i = 0; i < elf->header.e_phnum; i++) {
		const Elf64_Phdr *ph = &elf->ph[i];

		if (ph->p_type == PT_LOAD && ph->p_offset <= elf->header.e_phoff &&
		    elf->header.e_phoff - ph->p_offset < ph->p_filesz)
			return elf->header.e_phoff - ph->p_offset + ph->p_vaddr + elf->bias;
	}
	return 0;
}
