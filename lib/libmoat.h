/*
 * libmoat: runs programs that are not trusted, each in a sandbox with a kernel of its own, and says
 * what became of them. See docs/EMBEDDING.md.
 *
 *	struct moat *m;
 *	struct moat_error err;
 *	struct moat_result r;
 *	const char *argv[] = {"/usr/bin/python3", "-c", "print(6 * 7)", NULL};
 *	struct moat_command c = {.size = sizeof(c), .argv = argv, .wall_ns = 5000000000};
 *
 *	if (!moat_new(NULL, &m, &err) && !moat_execve(m, &c, &r, &err)) {
 *		fwrite(r.out, 1, r.out_size, stdout);
 *		moat_result_free(&r);
 *	}
 *	moat_destroy(m);
 *
 * All functions return 0 or a number that is not negative, or a negative errno with *err filled in
 * (err may be NULL). Different threads may use one master at the same time, but for moat_destroy().
 * Structures that begin with `size` grow in later versions: set it to sizeof, and the rest to zero.
 */
#ifndef LIBMOAT_H
#define LIBMOAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A master: one sandbox, in which programs run, one after the other or several at once. */
struct moat;
/* A program that runs. */
struct moat_run;

struct moat_error {
	int number;	/* errno, positive */
	char text[512]; /* what was being done, and why it failed; one line */
};

struct moat_config {
	size_t size;
	const char *pool; /* socket of `moat pool`: a sandbox that waits there; NULL: start one */
	const char *program; /* moat's; NULL: $MOAT, or "moat" in PATH */
	const char *rootfs;  /* an image's directory; NULL: the host's programs and libraries */
	const char *const *volumes; /* "SRC:DST" or "SRC:DST:rw", NULL at the end; NULL: none */
	const char *const *flags;   /* more for `moat sandbox`, likewise */
	uint64_t memory;	    /* of the whole sandbox, bytes; 0: the host's */
	uint64_t disk;		    /* of /w and of /tmp, each, in memory; 0: 512 MiB */
};

/* How a program ended. */
enum moat_status {
	MOAT_EXITED,	   /* by itself: exit_code */
	MOAT_SIGNALLED,	   /* signal */
	MOAT_CPU_LIMIT,	   /* killed: cpu_ns */
	MOAT_WALL_LIMIT,   /* killed: wall_ns */
	MOAT_MEMORY_LIMIT, /* killed: memory, or the sandbox's */
	MOAT_OUTPUT_LIMIT, /* killed: output_limit */
	MOAT_CANCELLED,	   /* killed: moat_cancel() */
};

/* For stdio of a command. */
#define MOAT_NULL (-1)	  /* /dev/null; so is 0 for standard input if it is not said otherwise */
#define MOAT_COLLECT (-2) /* into the result (not for input) */
#define MOAT_INHERIT (-3) /* the caller's own 0, 1 or 2 */

struct sock_filter; /* linux/filter.h */

/* The program is loaded, and has not run yet: pid is its number in the sandbox. 0: it runs;
 * otherwise it never does, and moat_start() fails with ECANCELED. Called from moat_start(). */
typedef int (*moat_before_fn)(void *arg, int pid);

/* A part of what the program has written to 1 or 2, as it comes. */
typedef void (*moat_output_fn)(void *arg, int stream, const char *data, size_t size);

struct moat_command {
	size_t size;
	const char *const *argv; /* argv[0]: a path, or a name looked up in PATH of envp */
	const char *const *envp; /* NULL: a PATH, HOME=/w, LANG=C.UTF-8 */
	const char *cwd;	 /* NULL: /w */
	/* Whose credentials: 0 stands for 65534, the owner of what copy_in made. */
	uid_t uid;
	gid_t gid;
	/* Input that is written to the program's standard input; or input_fd, if it is not 0. */
	const void *input;
	size_t input_size;
	int input_fd;		 /* > 2: a descriptor; MOAT_NULL, MOAT_INHERIT */
	int output_fd, error_fd; /* 0: MOAT_COLLECT; a descriptor; MOAT_NULL, MOAT_INHERIT */
	const int *extra_fds;	 /* become 3, 4, ...; at most 200 */
	unsigned nextra_fds;
	/* Limits on it and all that it starts, together; 0: none. */
	uint64_t cpu_ns, wall_ns; /* nanoseconds of processor time, of the clock */
	uint64_t memory;	  /* bytes */
	uint64_t processes;	  /* threads; beyond, fork fails with EAGAIN */
	uint64_t output_limit;	  /* bytes to collected streams; beyond, it is killed */
	size_t output_max;	  /* kept of each stream, the rest is dropped; 0: 16 MiB */
	uint64_t file_size, open_files, stack; /* RLIMIT_FSIZE, _NOFILE, _STACK; 0: the default */
	int keep;			       /* what it has started may go on when it has ended */
	moat_output_fn output; /* NULL: none; called from moat_wait() or moat_execve() */
	void *arg;
	/* It has a terminal of its own for 0, 1 and 2: input is typed, output is stream 1;
	 * input_fd, output_fd and error_fd are 0. See moat_resize(), moat_attach(). */
	int terminal;
	unsigned short rows, columns; /* 0: 24, 80 */
	moat_before_fn before;	      /* NULL: none; gets arg, too */
	/* A seccomp program that judges it and its children from the first call on (man 2 seccomp).
	 */
	const struct sock_filter *filter;
	unsigned nfilter; /* instructions */
	/* > 2: the program is a copy of this regular file, 256 MiB at most, no script; argv[0] is
	 * but a name. */
	int exec_fd;
	int count_calls; /* for moat_run_calls() */
};

struct moat_result {
	enum moat_status status;
	int exit_code; /* MOAT_EXITED */
	int signal;    /* the signal that ended it, or 0 */
	uint64_t user_ns, kernel_ns, wall_ns;
	uint64_t memory_peak; /* bytes; as far as it was looked at */
	char *out, *err;      /* collected; a zero follows; freed by moat_result_free() */
	size_t out_size, err_size;
	int out_truncated, err_truncated;
};

int moat_new(const struct moat_config *config, struct moat **master, struct moat_error *err);
/* Ends the sandbox and all that runs in it. NULL is fine. */
void moat_destroy(struct moat *master);
/* Is it alive? */
int moat_ping(struct moat *master, struct moat_error *err);
/* Kills all that runs, and empties /w and /tmp: nothing of earlier programs can be found. */
int moat_reset(struct moat *master, struct moat_error *err);

/* Runs a program to its end. An error: it was not run (ENOENT, EACCES, ENOEXEC, ...), or the
 * sandbox is gone (EPIPE). */
int moat_execve(struct moat *master, const struct moat_command *command, struct moat_result *result,
		struct moat_error *err);
/* The same in steps. The strings and descriptors of the command are not used after moat_start(). */
int moat_start(struct moat *master, const struct moat_command *command, struct moat_run **run,
	       struct moat_error *err);
/* In the sandbox. */
int moat_run_pid(const struct moat_run *run);
/* Kills it. Any thread; nothing happens if it has ended. */
int moat_cancel(struct moat_run *run);
/* The size of its terminal has changed: SIGWINCH in the sandbox. ENOTTY: it has none. Any thread.
 */
int moat_resize(struct moat_run *run, unsigned short rows, unsigned short columns,
		struct moat_error *err);
/* A descriptor of the other side of its terminal, the caller's: to type, to read what is printed.
 * moat_wait() does neither from now on. Before moat_wait(); ENOTTY. */
int moat_attach(struct moat_run *run, struct moat_error *err);
/* After moat_wait(): how many system calls it and its children have made, in all; calls[N] is that
 * of number N, for N below n. calls may be NULL if n is 0. What the sandbox's kernel need not see
 * (getpid, uncontended futexes, reading clocks) is not counted. Without count_calls: 0. */
uint64_t moat_run_calls(const struct moat_run *run, uint64_t *calls, unsigned n);
/* Waits for the end, once; output is collected meanwhile. */
int moat_wait(struct moat_run *run, struct moat_result *result, struct moat_error *err);
/* A program that nobody has waited for is killed. NULL is fine. */
void moat_run_free(struct moat_run *run);
void moat_result_free(struct moat_result *result);
/* "exited", "signalled", "cpu limit", ... */
const char *moat_status_name(enum moat_status status);

/* Files in the sandbox, as of the user 65534. Paths are absolute, without "..": EINVAL; one that
 * ends in a symbolic link is ELOOP, a directory EISDIR, what is no regular file EINVAL. */
/* All that can be read from fd, from where it stands. Directories above are made. */
int moat_copy_in(struct moat *master, int fd, const char *path, mode_t mode,
		 struct moat_error *err);
int moat_write(struct moat *master, const char *path, const void *data, size_t size, mode_t mode,
	       struct moat_error *err);
/* A copy of the file as it is now, as a new descriptor of the caller's, at its start. max: bytes,
 * or EFBIG; 0: 1 GiB. */
int moat_open(struct moat *master, const char *path, uint64_t max, struct moat_error *err);
/* recursive: a directory with all that is in it. */
int moat_delete(struct moat *master, const char *path, int recursive, struct moat_error *err);
struct moat_entry {
	const char *name; /* valid during the call */
	mode_t mode;	  /* type and permissions */
	uint64_t size;
	int64_t modified_ns; /* since the epoch */
};
/* Calls fn for each entry of a directory until it returns something else than 0, and returns that.
 */
int moat_list(struct moat *master, const char *path,
	      int (*fn)(void *arg, const struct moat_entry *entry), void *arg,
	      struct moat_error *err);

#ifdef __cplusplus
}
#endif

#endif
