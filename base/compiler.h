/* Compiler attributes and cleanup helpers that every part uses. */
#ifndef MOAT_BASE_COMPILER_H
#define MOAT_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define __cleanup(fn) __attribute__((cleanup(fn)))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __must_check __attribute__((warn_unused_result))
#define __noreturn __attribute__((noreturn))
#define __weak_symbol __attribute__((weak))
#define __maybe_unused __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member)                                                            \
	((type *)(void *)((char *)(ptr) - __builtin_offsetof(type, member)))
#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) min_a_ = (a);                                                        \
		__typeof__(b) min_b_ = (b);                                                        \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) max_a_ = (a);                                                        \
		__typeof__(b) max_b_ = (b);                                                        \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})
#define ROUND_UP(x, to) (((x) + ((to)-1)) & ~((__typeof__(x))(to)-1))
#define ROUND_DOWN(x, to) ((x) & ~((__typeof__(x))(to)-1))

static inline void free_ptr(void *p)
{
	void **pp = p;
	free(*pp);
	*pp = NULL;
}

static inline void close_fd_ptr(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* char *__free s = strdup(...): freed when it leaves scope. */
#define __free __cleanup(free_ptr)
/* int __close fd = open(...): closed when it leaves scope, if not negative. */
#define __close_fd __cleanup(close_fd_ptr)

/* Takes the value out of a variable that would be cleaned up: ownership moves to the caller. */
static inline int steal_fd(int *fd)
{
	int r = *fd;
	*fd = -1;
	return r;
}
#define steal_ptr(pp)                                                                              \
	({                                                                                         \
		__typeof__(*(pp)) stolen_ = *(pp);                                                 \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})

/* Pointers that carry an errno, where that is clearer than an out parameter. */
static inline void *ERR_PTR(long err)
{
	return (void *)err;
}
static inline long PTR_ERR(const void *p)
{
	return (long)p;
}
static inline int IS_ERR(const void *p)
{
	return (unsigned long)p >= (unsigned long)-4095;
}

#endif
