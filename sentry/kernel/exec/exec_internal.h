/* One execve on its way, between the files of kernel/exec. */
#ifndef MOAT_SENTRY_KERNEL_EXEC_EXEC_INTERNAL_H
#define MOAT_SENTRY_KERNEL_EXEC_EXEC_INTERNAL_H

#include "sentry/kernel/exec/elf_internal.h"
#include "sentry/kernel/task/task.h"

#define EXEC_HEAD_SIZE 256 /* Linux: BINPRM_BUF_SIZE */

/* One execve, while it is prepared: nothing of the old program is touched before exec_commit(). */
struct exec {
	struct task *task;
	char *name;	     /* owned: what AT_EXECFN says */
	struct file *file;   /* the program itself; owned */
	struct file *script; /* the outermost script, when the program came by "#!"; owned */
	char *script_name;   /* owned: the interpreter that is looked at now, or NULL */
	char **argv, **envp; /* owned vectors of owned strings */
	char head[EXEC_HEAD_SIZE];
	size_t head_len;
	bool fd_path_gone; /* name is /dev/fd/N of a close-on-exec fd: scripts cannot work */

	struct cred *cred; /* the new program's; owned until commit */
	bool secure;	   /* AT_SECURE */
	bool unreadable;
	bool no_way_back; /* it failed where Linux has left the old program already */

	struct elf_image elf, interp;
	struct file *interp_file;
	struct platform_as *as; /* borrowed from mm */
	struct platform_ctx *ctx;
	struct mm *mm;
	uint64_t entry, stack;
	struct pid *old_pid; /* its thread's before it became the leader; counted */
};

/* exec_script.c: while e->file is a "#!" script, goes on to its interpreter. 0 or -errno. */
int exec_resolve_scripts(struct exec *e);
/* Opens an executable, with every check that execve makes on the file; fills e->head. */
int exec_open(struct exec *e, int dfd, const char *path, unsigned lookup_flags);
int exec_use_file(struct exec *e, struct file *file);
/* exec_cred.c: the new credentials: set-id bits, capabilities (man 7 capabilities). */
int exec_prepare_cred(struct exec *e);
/* exec_load.c: a new address space with program, interpreter, stack and vDSO in it. */
int exec_load(struct exec *e);
/* exec_stack.c: strings and auxiliary vector on the new stack; sets e->stack. */
int exec_build_stack(struct exec *e, uint64_t top, uint64_t vdso);
/* exec_commit.c: ends the other threads and puts the new program in the place of the old. An error
 * means that the process is being killed. */
int exec_commit(struct exec *e);

size_t strv_count(char *const *v);
/* A random number of pages below 2^bits, in bytes; 0 with ADDR_NO_RANDOMIZE. */
uint64_t exec_random_offset(const struct task *t, unsigned bits);

#endif
