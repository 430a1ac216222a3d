#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t chance_state;
bool trace_details;

/* --- the trace ---------------------------------------------------------------------------------
 */

static char out[1 << 16];
static size_t used;

void trace_flush(void)
{
	size_t done = 0;

	while (done < used) {
		ssize_t n = write(STDOUT_FILENO, out + done, used - done);

		if (n <= 0)
			_exit(3);
		done += (size_t)n;
	}
	used = 0;
}

void trace(const char *fmt, ...)
{
	va_list ap;

	if (sizeof(out) - used < 4096)
		trace_flush();
	va_start(ap, fmt);
	used += (size_t)vsnprintf(out + used, sizeof(out) - used, fmt, ap);
	va_end(ap);
	if (trace_details)
		trace_flush();
}

void trace_end_step(void)
{
	trace("\n");
}

/* --- memory ------------------------------------------------------------------------------------
 */

static int reader; /* a file that pages are written to, to be looked at without faults */
static const char *read_back;

static void map_fixed(uint64_t at, uint64_t n)
{
	if (mmap((void *)at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED) {
		perror("steps: mmap");
		exit(2);
	}
}

void arena_init(void)
{
	map_fixed(DATA, DATA_SIZE);
	map_fixed(STACK, STACK_SIZE);
	reader = memfd_create("reader", MFD_CLOEXEC);
	if (reader < 0 || ftruncate(reader, PAGE))
		exit(2);
	reader = fcntl(reader, F_DUPFD_CLOEXEC, 200);
	read_back = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, reader, 0);
	for (uint64_t i = 0; i < DATA_SIZE / 8; i++)
		((uint64_t *)DATA)[i] = chance();
}

uint64_t hash_memory(bool field)
{
	uint64_t h = hash_bytes(HASH_START, (void *)DATA, 2048);

	if (!field)
		return hash_bytes(h, (void *)DATA, DATA_SIZE);
	for (int i = 0; i < FIELD_PAGES; i++) {
		const void *page = (const void *)(FIELD + (uint64_t)i * PAGE);
		ssize_t n = pwrite(reader, page, 256, 0);

		if (n == 256)
			h = hash_bytes(h, read_back, 256);
		h = h * 31 + (uint64_t)n;
	}
	return h;
}

/* --- main --------------------------------------------------------------------------------------
 */

/* One in so many steps. */
static const struct {
	void (*fn)(void);
	unsigned weight;
} kinds[] = {
	{step_call, 400},   {step_memory, 100}, {step_fault, 250},
	{step_signal, 200}, {step_base, 30},	{step_timer, 4},
	{step_fork, 6},	    {step_threads, 4},	{step_exec, 2},
};

static void one_step(void)
{
	unsigned total = 0, pick;

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		total += kinds[i].weight;
	pick = (unsigned)below(total);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (pick < kinds[i].weight) {
			kinds[i].fn();
			return;
		}
		pick -= kinds[i].weight;
	}
}

int main(int argc, char **argv)
{
	uint64_t count, from;

	own_path = argv[0];
	if (argc == 3 && !strcmp(argv[1], "exec"))
		return exec_main(strtoull(argv[2], NULL, 10));
	if (argc < 3) {
		fprintf(stderr, "usage: steps SEED COUNT [FROM]\n");
		return 2;
	}
	chance_state = strtoull(argv[1], NULL, 10);
	count = strtoull(argv[2], NULL, 10);
	from = argc > 3 ? strtoull(argv[3], NULL, 10) : UINT64_MAX;
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	signal(SIGPIPE, SIG_IGN);
	pattern_init();
	arena_init();
	forget_signals();
	for (uint64_t i = 0; i < count; i++) {
		uint64_t seed = chance();

		/* Each step has a chance of its own: what one asks for does not move the next. */
		trace_details = i >= from;
		trace("%lu ", i);
		chance_state = seed;
		one_step();
		trace(" mem=%016lx", i % 64 ? 0 : hash_memory(false));
		chance_state = seed ^ 0x5bd1e995;
		trace_end_step();
	}
	trace_flush();
	return 0;
}
