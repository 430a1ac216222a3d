/*
 * Landlock (man 7 landlock), where there are no namespaces to hide the host's files: the process
 * opens nothing any more but beneath what it names, reaches no process outside by ptrace, and from
 * Linux 6.12 on signals none. Also for all processes that it forks.
 */
#ifndef MOAT_BOOT_LANDLOCK_H
#define MOAT_BOOT_LANDLOCK_H

#include <stdbool.h>

struct landlock_place {
	int fd; /* a directory */
	bool writable;
};

/* Binds the calling process (one thread, no_new_privs set). 0; -EOPNOTSUPP where the kernel has no
 * Landlock or we are not let; or -errno. */
int landlock_confine(const struct landlock_place *places, int n);
/* The version of Landlock that this kernel has, 0: none. */
int landlock_version(void);

#endif
