#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum log_level log_level_now = LOG_LEVEL_WARN;
static int output = STDERR_FILENO;

void log_set_fd(int fd)
{
	output = fd;
}

int log_fd(void)
{
	return output;
}

void log_set_level(enum log_level level)
{
	log_level_now = level;
}

static void write_line(const char *level, const char *file, int line, const char *fmt, va_list ap)
{
	char buf[1024];
	struct timespec ts;
	int saved = errno;
	int n, m;

	clock_gettime(CLOCK_REALTIME, &ts);
	n = snprintf(buf, sizeof(buf), "%s %02d:%02d:%02d.%06ld ", level,
		     (int)(ts.tv_sec / 3600 % 24), (int)(ts.tv_sec / 60 % 60),
		     (int)(ts.tv_sec % 60), ts.tv_nsec / 1000);
	if (file)
		n += snprintf(buf + n, sizeof(buf) - n,
			      "%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
	m = vsnprintf(buf + n, sizeof(buf) - n - 1, fmt, ap);
	if (m > (int)sizeof(buf) - n - 2)
		m = (int)sizeof(buf) - n - 2;
	buf[n + m] = '\n';
	(void)!write(output, buf, n + m + 1);
	errno = saved;
}

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
{
	static const char *const names[] = {"E", "W", "I", "D"};
	va_list ap;

	va_start(ap, fmt);
	write_line(names[level], file, line, fmt, ap);
	va_end(ap);
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line("PANIC", NULL, 0, fmt, ap);
	va_end(ap);
	abort();
}
