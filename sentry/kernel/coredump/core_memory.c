/* The memory in a core file: what of it, and how it is written. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sentry/kernel/coredump/coredump_internal.h"

/* man 5 core: bits of coredump_filter. */
#define FILTER_ANON_PRIVATE 0x01
#define FILTER_ANON_SHARED 0x02
#define FILTER_FILE_PRIVATE 0x04
#define FILTER_FILE_SHARED 0x08
#define FILTER_ELF_HEADERS 0x10

#define CHUNK (64UL << 10)
#define CHUNK_PAGES (CHUNK / PAGE_SIZE)

/* --- which --------------------------------------------------------------------------------------
 */

static bool has_own_pages(struct thread_group *g, struct mm *mm, const struct core_range *c)
{
	uint8_t pages[CHUNK_PAGES];

	for (uint64_t at = c->start; at < c->end; at += CHUNK) {
		size_t n = MIN(c->end - at, CHUNK) / PAGE_SIZE;

		/* The range may be terabytes of nothing. */
		if (atomic_load(&g->core_killed))
			return false;
		if (platform_as_pages(mm->as, at, n, pages))
			return true;
		for (size_t i = 0; i < n; i++)
			if (pages[i] & PLATFORM_PAGE_OWN)
				return true;
	}
	return false;
}

static bool begins_elf(struct mm *mm, uint64_t addr)
{
	char magic[SELFMAG];

	return mm_access(mm, addr, magic, SELFMAG, false, true) == SELFMAG &&
	       !memcmp(magic, ELFMAG, SELFMAG);
}

static bool is_named(const struct inode *inode)
{
	return atomic_load(&inode->nlink) > 0;
}

/* c->size is the whole; what is to become of it? Linux: vma_dump_size(). */
static uint64_t wanted(struct thread_group *g, struct mm *mm, const struct core_range *c,
		       uint32_t vm_flags, bool shared)
{
	unsigned filter = atomic_load(&mm->coredump_filter);
	uint64_t all = c->end - c->start;

	if (vm_flags & VM_SPECIAL)
		return vm_flags & VM_DONTDUMP ? 0 : all;
	if (vm_flags & VM_DONTDUMP)
		return 0;
	if ((vm_flags & VM_SHARED) || shared)
		return filter & (c->file && is_named(c->file->inode) ? FILTER_FILE_SHARED
								     : FILTER_ANON_SHARED)
			       ? all
			       : 0;
	if (!c->file)
		return filter & FILTER_ANON_PRIVATE ? all : 0;
	if (filter & FILTER_FILE_PRIVATE)
		return all;
	if ((filter & FILTER_ANON_PRIVATE) && ((c->prot & PROT_WRITE) || !(c->prot & PROT_EXEC)) &&
	    has_own_pages(g, mm, c))
		return all;
	if ((filter & FILTER_ELF_HEADERS) && !c->offset && (c->prot & PROT_READ) &&
	    begins_elf(mm, c->start))
		return PAGE_SIZE;
	return 0;
}

int core_ranges_get(struct thread_group *g, struct mm *mm, struct core_ranges *r)
{
	struct vm_area *vma;
	uint32_t *flags __free = NULL;
	bool *shared __free = NULL;

	command_lock(&mm->lock);
	r->n = 0;
	r->all = calloc(mm->map_count + 1, sizeof(*r->all));
	flags = calloc(mm->map_count + 1, sizeof(*flags));
	shared = calloc(mm->map_count + 1, sizeof(*shared));
	for (vma = vma_find(mm, 0); r->all && flags && shared && vma && r->n < mm->map_count;
	     vma = vma_next(vma)) {
		struct core_range *c = &r->all[r->n];

		*c = (struct core_range){.start = vma->start,
					 .end = vma->end,
					 .offset = vma->offset,
					 .prot = vma->prot,
					 .file = vma->file ? file_get(vma->file) : NULL};
		flags[r->n] = vma->flags;
		shared[r->n] = vma->shared != NULL;
		c->sparse = !vma->file && !vma->shared && !(vma->flags & VM_SPECIAL);
		r->n++;
	}
	mutex_unlock(&mm->lock);
	if (!r->all || !flags || !shared)
		return -ENOMEM;
	for (size_t i = 0; i < r->n; i++)
		r->all[i].size = wanted(g, mm, &r->all[i], flags[i], shared[i]);
	return 0;
}

void core_ranges_put(struct core_ranges *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->all[i].file)
			file_put(r->all[i].file);
	free(r->all);
	r->all = NULL;
	r->n = 0;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static int emit(struct core_file *f, const void *data, size_t n)
{
	const char *from = data;

	if (f->written + n > f->limit)
		return -EFBIG;
	while (n) {
		ssize_t ret = kernel_write(f->file, from, n, (int64_t)f->pos);

		if (ret <= 0)
			return ret ? (int)ret : -EIO;
		if (atomic_load(&f->group->core_killed))
			return -EINTR;
		from += ret;
		n -= (size_t)ret;
		f->pos += (uint64_t)ret;
		f->written += (uint64_t)ret;
		f->end = MAX(f->end, f->pos);
	}
	return 0;
}

/* The pages of the chunk from i on that are alike, there or not: how many. */
static size_t run_of(const uint8_t *pages, size_t i, size_t n)
{
	size_t k = i + 1;

	while (k < n && !pages[k] == !pages[i])
		k++;
	return k - i;
}

/* Up to *run pages into buf; *run: how many they were. False: the first cannot be read, as behind
 * the end of a file. */
static bool read_run(struct mm *mm, uint64_t from, char *buf, size_t *run)
{
	ssize_t got = mm_access(mm, from, buf, *run * PAGE_SIZE, false, true);

	if (got<(ssize_t)PAGE_SIZE && * run> 1)
		got = mm_access(mm, from, buf, PAGE_SIZE, false, true);
	*run = got < (ssize_t)PAGE_SIZE ? 1 : (size_t)got / PAGE_SIZE;
	return got >= (ssize_t)PAGE_SIZE;
}

static int emit_chunk(struct core_file *f, struct mm *mm, const struct core_range *c, uint64_t at,
		      size_t n, char *buf)
{
	uint8_t pages[CHUNK_PAGES];
	size_t run;

	memset(pages, PLATFORM_PAGE_THERE, sizeof(pages));
	if (c->sparse && platform_as_pages(mm->as, at, n, pages))
		memset(pages, 0, sizeof(pages)); /* the stub is gone */
	for (size_t i = 0; i < n; i += run) {
		int ret = 0;

		run = run_of(pages, i, n);
		if (pages[i] && read_run(mm, at + i * PAGE_SIZE, buf, &run))
			ret = emit(f, buf, run * PAGE_SIZE);
		else
			f->pos += run * PAGE_SIZE;
		if (ret)
			return ret;
	}
	return atomic_load(&f->group->core_killed) ? -EINTR : 0;
}

static int emit_memory(struct core_file *f, struct mm *mm, const struct core_ranges *r)
{
	char *buf __free = malloc(CHUNK);
	int ret = buf ? 0 : -ENOMEM;

	for (size_t i = 0; i < r->n && !ret; i++) {
		const struct core_range *c = &r->all[i];

		for (uint64_t done = 0; done < c->size && !ret; done += CHUNK)
			ret = emit_chunk(f, mm, c, c->start + done,
					 MIN(c->size - done, CHUNK) / PAGE_SIZE, buf);
	}
	/* A hole at the end has to have an end, too. */
	if (!ret && f->end < f->pos) {
		f->pos--;
		ret = emit(f, "", 1);
	}
	return ret;
}

static void put_headers(struct text *out, const struct core_ranges *r, size_t notes)
{
	Elf64_Ehdr eh = {.e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof(Elf64_Ehdr),
			 .e_ehsize = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = (uint16_t)(r->n + 1)};
	Elf64_Phdr ph = {.p_type = PT_NOTE, .p_filesz = notes};
	uint64_t offset = sizeof(Elf64_Ehdr) + (r->n + 1) * sizeof(Elf64_Phdr);

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	text_write(out, &eh, sizeof(eh));
	ph.p_offset = offset;
	text_write(out, &ph, sizeof(ph));
	offset = ROUND_UP(offset + notes, PAGE_SIZE);
	for (size_t i = 0; i < r->n; i++) {
		const struct core_range *c = &r->all[i];

		ph = (Elf64_Phdr){.p_type = PT_LOAD,
				  .p_flags = (c->prot & PROT_READ ? PF_R : 0) |
					     (c->prot & PROT_WRITE ? PF_W : 0) |
					     (c->prot & PROT_EXEC ? PF_X : 0),
				  .p_offset = offset,
				  .p_vaddr = c->start,
				  .p_filesz = c->size,
				  .p_memsz = c->end - c->start,
				  .p_align = PAGE_SIZE};
		text_write(out, &ph, sizeof(ph));
		offset += c->size;
	}
}

int core_write(struct core_file *f, struct mm *mm, const struct core_ranges *r,
	       const struct text *notes)
{
	struct text headers = {0};
	int ret;

	if (r->n + 1 >= PN_XNUM)
		return -E2BIG;
	put_headers(&headers, r, notes->len);
	ret = headers.failed ? -ENOMEM : emit(f, headers.buf, headers.len);
	text_free(&headers);
	if (!ret)
		ret = emit(f, notes->buf, notes->len);
	f->pos = ROUND_UP(f->pos, PAGE_SIZE);
	return ret ? ret : emit_memory(f, mm, r);
}
