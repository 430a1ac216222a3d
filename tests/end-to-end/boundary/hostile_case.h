/* What the cases of hostile.c share: words between their processes, and waiting. */
#ifndef MOAT_TESTS_HOSTILE_CASE_H
#define MOAT_TESTS_HOSTILE_CASE_H

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between the processes of a case. */
static struct shared {
	_Atomic long up, ticks, stage, id, result, go;
} * sh;

static int broken(const char *what)
{
	printf("BROKEN: %s\n", what);
	return 1;
}

static void spin(void) __attribute__((noreturn));
static void spin(void)
{
	for (;;)
		__asm__ volatile("pause");
}

/* Waits until *word is `value`, or for so many milliseconds. */
static int wait_for(_Atomic long *word, long value, int ms)
{
	for (int i = 0; i < ms && *word != value; i++)
		usleep(1000);
	return *word == value;
}

/* True if the process is gone within so many milliseconds; then it is reaped. */
static int gone_within(pid_t pid, int ms)
{
	int status;

	for (int i = 0; i <= ms; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return 1;
		usleep(1000);
	}
	return 0;
}

/* What is found out is ended a moment later; on a busy machine a long one. */
static int still_ticks(void)
{
	for (int i = 0; i < 40; i++) {
		long before = sh->ticks;

		usleep(300000);
		if (sh->ticks == before)
			return 0;
	}
	return 1;
}

#endif
