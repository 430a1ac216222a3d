/* A platform that is a table of pages, and what else the memory system calls ask of the rest of the
 * sentry. */
#ifndef MOAT_TESTS_VMA_DOUBLE_H
#define MOAT_TESTS_VMA_DOUBLE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/mm/mm_internal.h"
#include "sentry/mm/vma_internal.h"
#include "sentry/vfs/file.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define BASE 0x10000000ULL
#define PAGES 96
#define RW (PROT_READ | PROT_WRITE)

struct page {
	bool mapped, shared;
	int prot, fd;
	uint64_t offset;
	unsigned tag; /* what is in it: new for every page mapped, moved by mremap */
};

extern struct page host[PAGES];
extern int fail_next; /* errno that the next command fails with */
extern unsigned text_changes;
extern uint64_t advised, longest_advice; /* bytes */
/* A file whose bytes are those of host fd 100, from 16 pages on. */
extern struct file test_file;

#endif
