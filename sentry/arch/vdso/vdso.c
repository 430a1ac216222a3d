/*
 * The guest's vDSO (man 7 vdso): each function jumps to the host's, whose addresses the sentry
 * writes into the table when it starts. The host's vDSO stays mapped in the stub's part of the
 * address space, so the clocks cost what they cost natively. Where the host's needs a system call
 * it makes one, which traps like any other of the guest's.
 */
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

/* In the order of vdso_names in sentry/platform/shared/vdso.c; 0: the host has none. */
__attribute__((section(".table"), visibility("hidden"))) const volatile uintptr_t vdso_table[8] = {
	0x6d6f617476647321, /* found by this mark; the functions follow */
};

static long syscall2(long nr, long a, long b)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

int __vdso_clock_gettime(clockid_t id, struct timespec *ts);
int __vdso_clock_gettime(clockid_t id, struct timespec *ts)
{
	uintptr_t host = vdso_table[1];

	if (host)
		return ((int (*)(clockid_t, struct timespec *))host)(id, ts);
	return (int)syscall2(228, id, (long)ts);
}

int __vdso_gettimeofday(struct timeval *tv, void *tz);
int __vdso_gettimeofday(struct timeval *tv, void *tz)
{
	uintptr_t host = vdso_table[2];

	if (host)
		return ((int (*)(struct timeval *, void *))host)(tv, tz);
	return (int)syscall2(96, (long)tv, (long)tz);
}

time_t __vdso_time(time_t *t);
time_t __vdso_time(time_t *t)
{
	uintptr_t host = vdso_table[3];

	if (host)
		return ((time_t(*)(time_t *))host)(t);
	return syscall2(201, (long)t, 0);
}

int __vdso_clock_getres(clockid_t id, struct timespec *ts);
int __vdso_clock_getres(clockid_t id, struct timespec *ts)
{
	uintptr_t host = vdso_table[4];

	if (host)
		return ((int (*)(clockid_t, struct timespec *))host)(id, ts);
	return (int)syscall2(229, id, (long)ts);
}

int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);
int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
	return (int)syscall2(309, (long)cpu, (long)node);
}

#pragma weak clock_gettime = __vdso_clock_gettime
#pragma weak gettimeofday = __vdso_gettimeofday
#pragma weak time = __vdso_time
#pragma weak clock_getres = __vdso_clock_getres
#pragma weak getcpu = __vdso_getcpu
