/*
 * The check of lock order in debug builds (MOAT_DEBUG); release builds have nothing of it.
 *
 * Every lock is of a class: the place in the code where it is initialised. A thread's locks are
 * kept in a list of its own. Whoever waits for a lock while it holds others teaches the checker
 * that their classes come before the lock's; an order that contradicts what was learnt before is
 * reported with both stacks, and the process ends by panic(), though it had not come to the
 * deadlock. What a trylock takes is held, but nobody waited for it.
 *
 * What is waited for like a lock and is none, as the lead of a listener is, takes part by
 * lock_order_taken(), lock_order_waits() and lock_order_released() with a tag of its own.
 */
#ifndef MOAT_BASE_LOCK_ORDER_H
#define MOAT_BASE_LOCK_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* What a class may do beyond the rules. */
#define LOCK_NESTS 1u	      /* two of the class are held at a time, in an order of their own */
#define LOCK_BY_ADDRESS 2u    /* likewise, the lower address first */
#define LOCK_OVER_COMMANDS 4u /* held while a command of the platform runs */
#define LOCK_IS_LEAD 8u	      /* not a lock: see lock_order_no_lead() */

#ifdef MOAT_DEBUG

struct lock_tag {
	const char *name; /* of its class; a string that lives for ever */
	uint32_t flags;	  /* LOCK_* */
	uint32_t class;	  /* set when it is first taken; 0: not yet */
};

#define LOCK_STRING2(x) #x
#define LOCK_STRING(x) LOCK_STRING2(x)
#define LOCK_PLACE __FILE__ ":" LOCK_STRING(__LINE__)
#define LOCK_SITE(expression) #expression " at " LOCK_PLACE
#define LOCK_TAG(expression, what)                                                                 \
	(struct lock_tag)                                                                          \
	{                                                                                          \
		.name = #expression " of " LOCK_PLACE, .flags = (what)                             \
	}

enum lock_wait {
	LOCK_WAITS,
	LOCK_WAITS_WITHOUT_LEAD, /* gives up the lead before it waits */
	LOCK_TRIES,		 /* does not wait */
};

/* Before the calling thread waits for `lock`, at `site` (LOCK_SITE). */
void lock_order_wants(struct lock_tag *tag, const void *lock, const char *site, enum lock_wait how);
/* It has it. */
void lock_order_taken(struct lock_tag *tag, const void *lock, const char *site);
void lock_order_released(struct lock_tag *tag, const void *lock, const char *site);
/* It waits for whoever may hold one of that class, and does not take it. */
void lock_order_waits(struct lock_tag *tag, const char *site);
/* It is about to sleep until somebody wakes it: panics if it holds a lock (but `except`, which it
 * lets go meanwhile; may be NULL) or leads. */
void lock_order_sleeps(const void *except, const char *site);
/* It is about to wait for another thread in a loop: panics if it leads. */
void lock_order_no_lead(const char *site);
/* It is about to execute a command of the platform: panics if it holds a lock without
 * LOCK_OVER_COMMANDS. */
void lock_order_command(const char *site);

/* Writes what was learnt to a descriptor, a line for each pair. */
void lock_order_print(int fd);

#define lock_check_sleeps(except) lock_order_sleeps(except, LOCK_PLACE)
#define lock_check_no_lead() lock_order_no_lead(LOCK_PLACE)
#define lock_check_command() lock_order_command(LOCK_PLACE)

#else

#define LOCK_SITE(expression) NULL
static inline void lock_order_print(int fd)
{
}
#define lock_check_sleeps(except) ((void)0)
#define lock_check_no_lead() ((void)0)
#define lock_check_command() ((void)0)

#endif

#endif
