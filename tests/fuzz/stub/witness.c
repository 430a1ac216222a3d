/*
 * Honest processes: memory, registers, files and children whose content they know, looked at all
 * the time while others lie to the sentry.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define WORDS (16 * PAGE / sizeof(uint64_t))
#define CALLS 300 /* enough for the call's site to be patched */

static uint64_t word(unsigned id, size_t i)
{
	return CANARY ^ ((uint64_t)id << 32) ^ i;
}

static void fill(uint64_t *p, unsigned id)
{
	for (size_t i = 0; i < WORDS; i++)
		p[i] = word(id, i);
}

static int intact(const uint64_t *p, unsigned id)
{
	for (size_t i = 0; i < WORDS; i++)
		if (p[i] != word(id, i))
			return 0;
	return 1;
}

/* All registers that a system call keeps, around one: 0, or what it returned is in *ret. */
struct registers {
	uint64_t in[12], out[12];
	uint64_t xmm_in[6], xmm_out[6];
	uint64_t ret;
};

static void call_with(struct registers *r)
{
	__asm__ volatile(
		"sub $128, %%rsp\n\tpush %%rbp\n\tpush %%rbx\n\t"
		"mov 0(%%rdi), %%rbx\n\tmov 8(%%rdi), %%rbp\n\tmov 16(%%rdi), %%r12\n\t"
		"mov 24(%%rdi), %%r13\n\tmov 32(%%rdi), %%r14\n\tmov 40(%%rdi), %%r15\n\t"
		"mov 48(%%rdi), %%rdx\n\tmov 56(%%rdi), %%rsi\n\tmov 64(%%rdi), %%r8\n\t"
		"mov 72(%%rdi), %%r9\n\tmov 80(%%rdi), %%r10\n\t"
		"movups 192(%%rdi), %%xmm0\n\tmovups 208(%%rdi), %%xmm7\n\t"
		"movups 224(%%rdi), %%xmm15\n\t"
		"mov $110, %%eax\n\tsyscall\n\t"
		"mov %%rbx, 96(%%rdi)\n\tmov %%rbp, 104(%%rdi)\n\tmov %%r12, 112(%%rdi)\n\t"
		"mov %%r13, 120(%%rdi)\n\tmov %%r14, 128(%%rdi)\n\tmov %%r15, 136(%%rdi)\n\t"
		"mov %%rdx, 144(%%rdi)\n\tmov %%rsi, 152(%%rdi)\n\tmov %%r8, 160(%%rdi)\n\t"
		"mov %%r9, 168(%%rdi)\n\tmov %%r10, 176(%%rdi)\n\t"
		"movups %%xmm0, 240(%%rdi)\n\tmovups %%xmm7, 256(%%rdi)\n\t"
		"movups %%xmm15, 272(%%rdi)\n\tmov %%rax, 288(%%rdi)\n\t"
		"pop %%rbx\n\tpop %%rbp\n\tadd $128, %%rsp"
		:
		: "D"(r)
		: "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "xmm0", "xmm7", "xmm15", "memory", "cc");
}
_Static_assert(SYS_getppid == 110, "written as a number above");

static int registers_survive(unsigned id, pid_t parent)
{
	struct registers r;

	for (unsigned n = 0; n < CALLS; n++) {
		for (unsigned i = 0; i < 12; i++)
			r.in[i] = word(id, n * 16 + i);
		for (unsigned i = 0; i < 6; i++)
			r.xmm_in[i] = word(id, n * 32 + i);
		call_with(&r);
		r.out[11] = r.in[11]; /* eleven of them */
		if (memcmp(r.in, r.out, sizeof(r.in)) ||
		    memcmp(r.xmm_in, r.xmm_out, sizeof(r.xmm_in)) || r.ret != (uint64_t)parent)
			return 0;
	}
	return 1;
}

static void check(int good, const char *what)
{
	if (!good) {
		broken(what);
		_exit(1);
	}
	atomic_fetch_add(&sh->checks, 1);
}

static void *thread_main(void *arg)
{
	check(intact(arg, *(uint64_t *)arg >> 32 ^ CANARY >> 32), "a thread sees other memory");
	return NULL;
}

static void fork_and_look(const uint64_t *memory, unsigned id)
{
	pid_t me = getpid(), pid = fork();
	int status;

	if (!pid) {
		check(getppid() == me, "a child has another parent");
		_exit(intact(memory, id) ? 40 + (int)id : 1);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid, "a child cannot be waited for");
	check(WIFEXITED(status) && WEXITSTATUS(status) == 40 + (int)id,
	      "a child ends in another way");
}

static void map_and_look(int fd, unsigned id)
{
	uint64_t *p = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t *q =
		mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED && q != MAP_FAILED, "mmap fails");
	check(intact(p, id), "a file's mapping shows something else");
	for (size_t i = 0; i < WORDS; i += PAGE / 8)
		check(q[i] == 0, "fresh memory is not empty");
	fill(q, id);
	check(!mprotect(q, WORDS * 8, PROT_READ) && intact(q, id), "memory changes by mprotect");
	check(!munmap(p, WORDS * 8) && !munmap(q, WORDS * 8), "munmap fails");
}

int witness(unsigned id)
{
	char name[32];
	uint64_t *memory =
		mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t parent = getppid();
	int fd, pipes[2];

	snprintf(name, sizeof(name), "witness-%u", id);
	fd = memfd_create(name, MFD_CLOEXEC);
	check(memory != MAP_FAILED && fd >= 0 && !ftruncate(fd, WORDS * 8) && !pipe(pipes),
	      "a witness cannot start");
	fill(memory, id);
	check(write(fd, memory, WORDS * 8) == WORDS * 8, "a file cannot be written");
	for (unsigned n = 0; !sh->stop; n++) {
		uint64_t sent = word(id, n), got = 0;
		pthread_t thread;

		check(intact(memory, id), "a process's memory was changed");
		check(registers_survive(id, parent), "a process's registers were changed");
		check(write(pipes[1], &sent, 8) == 8 && read(pipes[0], &got, 8) == 8 && sent == got,
		      "a pipe carries something else");
		map_and_look(fd, id);
		if (n % 4 == 0)
			fork_and_look(memory, id);
		if (n % 4 == 2) {
			check(!pthread_create(&thread, NULL, thread_main, memory), "no thread");
			pthread_join(thread, NULL);
		}
		usleep(2000);
	}
	return 0;
}
