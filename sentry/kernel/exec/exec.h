/* execve(2): from a file and strings to a new program in a new address space. */
#ifndef MOAT_SENTRY_KERNEL_EXEC_EXEC_H
#define MOAT_SENTRY_KERNEL_EXEC_EXEC_H

struct file;
struct task;

/* Replaces the program of t, the current task. path is resolved like execveat, unless `file` is the
 * program already. argv/envp are kernel strings, NULL-ended. */
int task_exec(struct task *t, struct file *file, const char *path, char *const argv[],
	      char *const envp[]);
/* The first program of a container: path is searched in PATH of envp. t is current. 0 or -errno. */
int init_program(struct task *t, const char *path, char *const argv[], char *const envp[]);

#endif
