/*
 * The guest's vDSO: the image of sentry/arch/vdso with the host's function addresses filled in, in
 * a sealed memfd. All stubs inherit the host's vDSO and its data pages from the sentry, at one
 * place.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sentry/arch/regs.h"
#include "sentry/platform/shared/stub_host.h"
#include "sentry/platform/shared/vdso.h"

#define TABLE_MARK 0x6d6f617476647321ULL

extern const char vdso_image[], vdso_image_end[];

static const char *const vdso_names[] = {
	"__vdso_clock_gettime",
	"__vdso_gettimeofday",
	"__vdso_time",
	"__vdso_clock_getres",
};

static struct {
	int fd;
	size_t size;
	const void *image;
} vdso = {.fd = -1};

/* Where the host's is in our own memory. */
static struct {
	unsigned pieces;
	struct {
		uint64_t start, size;
	} piece[4];
} theirs;

/* Looks a function up in the host's vDSO, which is trusted and mapped. */
static uint64_t host_symbol(const char *name)
{
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *phdr = (const Elf64_Phdr *)(base + ehdr->e_phoff);
	const Elf64_Dyn *dyn = NULL;
	const Elf64_Sym *symtab = NULL;
	const char *strtab = NULL;
	const uint32_t *hash = NULL, *gnu = NULL;
	uint64_t bias = 0;
	unsigned count = 0;

	for (int i = 0; i < ehdr->e_phnum; i++) {
		if (phdr[i].p_type == PT_LOAD)
			bias = (uint64_t)base - phdr[i].p_vaddr + phdr[i].p_offset;
		if (phdr[i].p_type == PT_DYNAMIC)
			dyn = (const Elf64_Dyn *)(base + phdr[i].p_offset);
	}
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		const void *p = (const void *)(bias + dyn->d_un.d_ptr);

		if (dyn->d_tag == DT_SYMTAB)
			symtab = p;
		else if (dyn->d_tag == DT_STRTAB)
			strtab = p;
		else if (dyn->d_tag == DT_HASH)
			hash = p;
		else if (dyn->d_tag == DT_GNU_HASH)
			gnu = p;
	}
	if (!symtab || !strtab || (!hash && !gnu))
		return 0;
	if (hash) {
		count = hash[1];
	} else {
		/* The number of symbols: the end of the last chain. */
		const uint32_t *buckets = gnu + 4 + gnu[2] * 2, *chain = buckets + gnu[0];

		for (uint32_t i = 0; i < gnu[0]; i++)
			count = MAX(count, buckets[i]);
		while (count >= gnu[1] && !(chain[count - gnu[1]] & 1))
			count++;
		count++;
	}
	for (unsigned i = 0; i < count; i++)
		if (symtab[i].st_shndx != SHN_UNDEF && !strcmp(strtab + symtab[i].st_name, name))
			return bias + symtab[i].st_value;
	return 0;
}

/* Where the host's vDSO and its data pages are in our maps. False: none, or a layout we do not
 * know. */
static bool find_host_pieces(void)
{
	int fd = stub_host_open_proc(0, "maps", O_RDONLY);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "re");
	char line[512];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if ((!strstr(line, "[vdso]") && !strstr(line, "[vvar")) ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (n == ARRAY_SIZE(theirs.piece)) {
			n = 0;
			break;
		}
		theirs.piece[n].start = from;
		theirs.piece[n++].size = to - from;
	}
	if (f)
		fclose(f);
	if (n && theirs.piece[n - 1].start + theirs.piece[n - 1].size - theirs.piece[0].start >
			 STUB_VDSO_SIZE)
		n = 0;
	theirs.pieces = n;
	return n > 0;
}

void vdso_describe(struct stub_config *config)
{
	config->vdso_pieces = theirs.pieces;
	config->vdso_start = theirs.piece[0].start;
	memcpy(config->vdso_piece, theirs.piece, sizeof(theirs.piece));
}

void vdso_disable(void)
{
	vdso.image = NULL;
}

int vdso_init(void)
{
	size_t size = (size_t)(vdso_image_end - vdso_image);
	size_t mapped = ROUND_UP(size, PAGE_SIZE);
	char *copy;

	if (!getauxval(AT_SYSINFO_EHDR) || !find_host_pieces())
		return 0;
	vdso.fd = memfd_create("moat-vdso", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (vdso.fd < 0 || ftruncate(vdso.fd, (off_t)mapped))
		return -errno;
	copy = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	memcpy(copy, vdso_image, size);
	for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
		uint64_t *table = (uint64_t *)(void *)(copy + i);

		if (*table != TABLE_MARK)
			continue;
		for (unsigned n = 0; n < ARRAY_SIZE(vdso_names); n++) {
			uint64_t at = host_symbol(vdso_names[n]);

			table[n + 1] = at ? at - theirs.piece[0].start + STUB_VDSO : 0;
		}
		break;
	}
	if (pwrite(vdso.fd, copy, mapped, 0) != (ssize_t)mapped ||
	    fcntl(vdso.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		return -errno;
	mprotect(copy, mapped, PROT_READ);
	vdso.image = copy;
	vdso.size = mapped;
	return 0;
}

int platform_vdso(const void **image, size_t *size, int *fd, uint64_t *offset)
{
	if (!vdso.image)
		return -ENOSYS;
	*image = vdso.image;
	*size = vdso.size;
	*fd = vdso.fd;
	*offset = 0;
	return 0;
}
