/* Steps that make processes and threads. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "steps.h"

/* --- processes ---------------------------------------------------------------------------------
 */

/* What a child says of itself. */
struct report {
	uint64_t regs, fpu, memory;
};

static void child_report(int fd) __attribute__((noreturn));
static void child_report(int fd)
{
	struct report r = {.fpu = hash_fpu(&pattern.fpu_out), .memory = hash_memory(true)};
	uint64_t out[NREGS];

	memcpy(out, pattern.out, sizeof(out));
	out[RCX] = out[R11] = 0;
	r.regs = hash_bytes(HASH_START, out, sizeof(out));
	/* Its memory is its own: the parent must not see this. */
	memset((void *)(DATA + 0x4000), 0x55, 64);
	if (write(fd, &r, sizeof(r)) != sizeof(r))
		_exit(1);
	_exit((int)(r.regs & 0x7f));
}

void step_fork(void)
{
	struct report r = {0};
	int fd[2], status = 0;
	int64_t pid;

	if (pipe(fd)) {
		trace("fork: no pipe %d", errno);
		return;
	}
	trace("fork");
	trace_flush();
	pattern_fill();
	pattern.in[RAX] = one_in(2) ? SYS_fork : SYS_clone;
	pattern.in[RDI] = SIGCHLD;
	pattern.in[RSI] = pattern.in[RDX] = 0;
	pattern.snippet = snippet_syscall;
	run_pattern();
	pid = (int64_t)pattern.out[RAX];
	if (pid == 0)
		child_report(fd[1]);
	close(fd[1]);
	trace(" read %ld", (long)read(fd[0], &r, sizeof(r)));
	close(fd[0]);
	trace(" waited %d", waitpid((pid_t)pid, &status, 0) == pid);
	pattern.out[RAX] = 0;
	trace_registers(true);
	trace(" status %x child %016lx %016lx %016lx", (unsigned)status, r.regs, r.fpu, r.memory);
}

/* --- exec --------------------------------------------------------------------------------------
 */

const char *own_path;

/* As a program begins. */
int exec_main(uint64_t seed)
{
	uint32_t mxcsr;
	uint16_t fcw;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	chance_state = seed;
	return mxcsr == 0x1f80 && fcw == 0x37f ? (int)below(100) : 101;
}

void step_exec(void)
{
	char seed[24];
	int status = 0;
	pid_t pid;

	snprintf(seed, sizeof(seed), "%lu", chance());
	trace("exec");
	trace_flush();
	pid = one_in(2) ? vfork() : fork();
	if (pid == 0) {
		execl(own_path, own_path, "exec", seed, NULL);
		_exit(127);
	}
	trace(" waited %d", waitpid(pid, &status, 0) == pid);
	trace(" status %x", (unsigned)status);
}

/* --- threads -----------------------------------------------------------------------------------
 */

#define THREADS 3

static struct thread {
	pthread_t id;
	uint64_t seed, result;
} threads[THREADS];
static uint32_t *const turn = (uint32_t *)(DATA + 0xf000);

/* Thread local storage, system calls and floating point, in turn with others. */
static void *thread_main(void *arg)
{
	static __thread uint64_t local;
	struct thread *t = arg;
	unsigned n = (unsigned)(t - threads);
	volatile double x = 1.0 + n;

	local = t->seed;
	for (unsigned round = 0; round < 4; round++) {
		for (;;) {
			uint32_t now = __atomic_load_n(turn, __ATOMIC_SEQ_CST);

			if (now % THREADS == n)
				break;
			syscall(SYS_futex, turn, 0 /* FUTEX_WAIT */, now, NULL, NULL, 0);
		}
		x = x * 1.25 + 0.5;
		local = hash_bytes(local, (const void *)&x, sizeof(x));
		((uint64_t *)(DATA + 0xf100))[n] += local;
		__atomic_fetch_add(turn, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, turn, 1 /* FUTEX_WAKE */, THREADS, NULL, NULL, 0);
	}
	t->result = local;
	return NULL;
}

void step_threads(void)
{
	*turn = 0;
	trace("threads");
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i].seed = chance();
		trace(" %d", pthread_create(&threads[i].id, NULL, thread_main, &threads[i]));
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i].id, NULL);
		trace(" %016lx", threads[i].result);
	}
	trace(" memory %016lx", hash_memory(false));
}
