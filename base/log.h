/*
 * Logging. One line per message, written with one write(2) to the log fd, so that lines of
 * several processes do not mix. Safe from any thread; never allocates; never fails.
 */
#ifndef MOAT_BASE_LOG_H
#define MOAT_BASE_LOG_H

#include <stdbool.h>

#include "base/compiler.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* The fd that messages go to (default 2), not owned; and the most verbose level that is written
 * (default WARN). */
void log_set_fd(int fd);
int log_fd(void);
void log_set_level(enum log_level level);
extern enum log_level log_level_now;

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
	__printf(4, 5);

#define log_at(level, ...)                                                                         \
	do {                                                                                       \
		if (unlikely((level) <= log_level_now))                                            \
			log_write((level), __FILE__, __LINE__, __VA_ARGS__);                       \
	} while (0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Logs once per place in the code for the life of the process. */
#define log_warn_once(...)                                                                         \
	do {                                                                                       \
		static bool logged_;                                                               \
		if (!__atomic_exchange_n(&logged_, true, __ATOMIC_RELAXED))                        \
			log_warn(__VA_ARGS__);                                                     \
	} while (0)

/* The one way to give up: logs the message and aborts the process. Only for broken invariants of
 * our own, never for anything that a guest, a file or a peer can cause. */
void panic(const char *fmt, ...) __printf(1, 2) __noreturn;
#define BUG_ON(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(cond))                                                                \
			panic("%s:%d: broken invariant: %s", __FILE__, __LINE__, #cond);           \
	} while (0)

#endif
