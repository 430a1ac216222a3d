/* ELF programs: reading headers, mapping segments (man 5 elf, gABI). */
#ifndef MOAT_SENTRY_KERNEL_EXEC_ELF_INTERNAL_H
#define MOAT_SENTRY_KERNEL_EXEC_ELF_INTERNAL_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file;
struct mm;
struct platform_ctx;

struct elf_image {
	struct file *file; /* not owned */
	Elf64_Ehdr header;
	Elf64_Phdr *ph;	    /* owned: header.e_phnum of them */
	char *interp;	    /* owned; NULL: none */
	int map_error;	    /* what is wrong with the segments, for elf_map; 0: nothing */
	bool exec_stack;    /* PT_GNU_STACK says PROT_EXEC */
	uint64_t low, high; /* page-rounded extent of the segments, before the bias */
	uint64_t align;	    /* the largest p_align, at least a page */
	uint64_t bias;	    /* elf_map: added to every address */
	uint64_t end;	    /* elf_map: end of the last segment, bias included */
	uint64_t start_code, end_code, start_data, end_data;
};

/* Reads and checks the headers, not what the segments say: Linux looks at those when there is no
 * way back any more. -ENOEXEC: not an x86-64 program or library; -ENOMEM, -EIO. `head` holds the
 * first bytes of the file. Free with elf_free() in any case. */
int elf_read(struct file *file, const void *head, size_t head_len, struct elf_image *elf);
void elf_free(struct elf_image *elf);
/* Maps every segment at its address + bias. mm is a new one. */
int elf_map(struct elf_image *elf, struct mm *mm, struct platform_ctx *ctx, uint64_t bias);
static inline uint64_t elf_entry(const struct elf_image *elf)
{
	return elf->header.e_entry + elf->bias;
}
/* Where the program headers are in memory; 0 if no segment holds them. */
uint64_t elf_phdr_address(const struct elf_image *elf);

#endif
